"""Default work dir of a config: each has its own."""

from __future__ import annotations

import os
from pathlib import Path

from kd_engine.config.builtin import SCOPE, configs_folder
from kd_engine.config.compose import full_name


def default_work_dir(name: str) -> Path:
    """Return the work dir of a config: its own path below ``work_dirs``, so that none is shared.

    Below ``configs``, of the current folder or the built-in ones, that folder is left out, so that
    ``kdkit::cls/kd`` and ``configs/cls/kd.py`` have one work dir.
    Elsewhere all folders are kept: relative to the current folder, otherwise from the root on.
    A method has its dataset's name with it, ``work_dirs/cls/kd+digits``, also where that is not
    said: it then runs on the dataset that its own file names.

    Args:
        name: Config file, composed name, ``kdkit::...`` or ``mmdet::...``.

    Returns:
        A relative path, ``work_dirs/<folders>/<config>``.
    """
    if "::" in name and not name.startswith(SCOPE):
        package, _, inner = name.partition("::")
        return Path("work_dirs", package, Path(inner).with_suffix(""))
    path = _without_suffix(Path(os.path.abspath(os.path.expanduser(full_name(name)))))
    here = Path.cwd()
    below = (
        _below(path, here / "configs")
        or _below(path.resolve(), configs_folder())
        or _below(path, here)
        or Path(path.drive.replace(":", ""), *path.parts[1:])
    )
    return Path("work_dirs", below)


def _below(path: Path, folder: Path) -> Path | None:
    return path.relative_to(folder) if path.is_relative_to(folder) else None


def _without_suffix(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".py", ".json", ".yaml", ".yml") else path
