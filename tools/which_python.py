"""Message, in one line, of a Python without kdkit's packages.

Each tool imports this first; it has no command of its own.
"""

import importlib.util
import os
import sys

_OURS = ("kd_cls", "kd_core", "kd_det", "kd_engine", "kd_retrieval", "kdkit")
_NEEDED = ("PIL", "click", "cv2", "mmcv", "mmdet", "mmengine", "numpy", "torch", "torchvision")
_OLDEST = (3, 10)


def explain(kind, error, trace):
    """Put a missing package into one sentence; other errors are shown as ever."""
    name = (getattr(error, "name", None) or "").split(".")[0]
    if issubclass(kind, ImportError) and name in _OURS + _NEEDED and _is_absent(name):
        print(f"error: {sentence(f'has no package {name}')}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def sentence(fault):
    """Name this Python, what is wrong with it, and the way to the right one."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = os.path.relpath(os.path.join(root, ".venv", "bin", "activate"))
    way = f"source {script}"
    if not os.path.isfile(script):
        way = f"make -C {os.path.relpath(root)} setup, then {way}"
    return f"{sys.executable} {fault}. Activate the environment of kdkit first: {way}"


def _is_absent(name):
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return True


if sys.version_info < _OLDEST:
    sys.exit(f"error: {sentence(f'is older than Python {_OLDEST[0]}.{_OLDEST[1]}')}")
sys.excepthook = explain
