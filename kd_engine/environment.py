"""Check of the environment: two distributions of mmengine must not overwrite each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata

# Each project, and the distributions that bring it under the same file names.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "mmengine": ("onedl-mmengine", "mmengine", "mmengine-lite"),
    "mmcv": ("onedl-mmcv", "mmcv", "mmcv-lite", "mmcv-full"),
    "mmdet": ("onedl-mmdetection", "mmdet"),
}


def installed(name: str) -> str | None:
    """Return a distribution's version, or ``None`` if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_distributions(find: Callable[[str], str | None] = installed) -> dict[str, str]:
    """Require at most one distribution of each of mmengine, mmcv and mmdet, all of one family.

    Args:
        find: Distribution name to version, ``None`` where it is absent.

    Returns:
        Name and version of each distribution found.

    Raises:
        RuntimeError: If two that share file names are installed.
    """
    found = {
        name: version
        for names in DISTRIBUTIONS.values()
        for name in names
        if (version := find(name)) is not None
    }
    onedl = [name for name in found if name.startswith("onedl-")]
    upstream = [name for name in found if not name.startswith("onedl-")]
    if onedl and upstream:
        everything = " ".join([*onedl, *upstream])
        raise RuntimeError(
            f"only one distribution of mmengine, mmcv and mmdet may be installed, because both "
            f"write the same files, but there are {', '.join(onedl)} and {', '.join(upstream)}. "
            f"Uninstall all of them (pip uninstall -y {everything}), then install one again: "
            "pip install 'kdkit[onedl]' or 'kdkit[openmmlab]'."
        )
    for names in DISTRIBUTIONS.values():
        several = [name for name in names if name in found]
        if len(several) > 1:
            raise RuntimeError(
                f"{' and '.join(several)} write the same files. Uninstall both "
                f"(pip uninstall -y {' '.join(several)}), then install one of them again."
            )
    return found
