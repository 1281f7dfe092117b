"""Extras of the distribution: which of them installs a missing package."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

_ENGINE = ("mmengine", "mmcv", "mmdet", "torchvision", "PIL", "sklearn", "pycocotools")
_EXTRAS = {
    **dict.fromkeys(_ENGINE, "onedl"),
    "faiss": "retrieval",
    "pytorch_metric_learning": "retrieval",
    "timm": "cls",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
}


def missing_package(user: str, *packages: str) -> ImportError:
    """Return the error that names missing packages, and the command that installs them.

    Args:
        user: Name of the part that needs them, such as "an index".
        packages: Import names of packages that an extra of kdkit installs.
    """
    extras = ",".join(dict.fromkeys(_EXTRAS[package] for package in packages))
    upstream = " (or [openmmlab] instead of [onedl], never both)" if "onedl" in extras else ""
    return ImportError(
        f"{user} needs {', '.join(packages)}, which this installation of kdkit lacks. Run: "
        f"pip install 'kdkit[{extras}]'{upstream}",
        name=packages[0],
    )


def require_packages(user: str, packages: Iterable[str]) -> None:
    """Require packages that an extra of kdkit installs, without importing them.

    Args:
        user: Name of the part that needs them.
        packages: Their import names.

    Raises:
        ImportError: If one is not installed; names the command that installs it.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise missing_package(user, *missing)
