"""Versions of installed packages, and whether OpenCV works on a machine without a screen."""

from __future__ import annotations

import importlib
import platform
from importlib import metadata

from kd_engine.environment import check_distributions

_PACKAGES = ("torch", "torchvision", "numpy", "pycocotools", "safetensors")
_HEADLESS = "opencv-python-headless"


def version_rows() -> list[tuple[str, str]]:
    """Return name and version of Python and of each package that matters."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    rows = [("python", platform.python_version()), ("device", device)]
    rows += [(name, version_of(name)) for name in _PACKAGES]
    return rows + sorted(check_distributions().items())


def check_opencv() -> str:
    """Import OpenCV and return which build it is.

    Returns:
        Version and build.

    Raises:
        ImportError: If it does not import; says how to fix it.
    """
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise ImportError(
            f"OpenCV cannot be imported ({error}). The headless build needs no screen libraries: "
            f"pip install --force-reinstall --no-deps {_HEADLESS}"
        ) from error
    lines = cv2.getBuildInformation().splitlines()
    window = [line.split(":")[1].strip() for line in lines if line.strip().startswith("GUI:")]
    build = "headless" if window in ([], ["NONE"]) else f"with windows ({window[0]})"
    return f"{cv2.__version__}, {build}"


def version_of(name: str) -> str:
    """Return the version of a package, or how to install it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"not installed: pip install {name}"
