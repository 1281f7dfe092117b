"""Packages: names imported on first use (PEP 562), and the extra that installs a missing one."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

_MANY = 20_000  # objects; torch makes 180,000, and what is imported late, few
_kept: list[bool] = []  # one entry within kept_imports
_ENGINE = ("mmengine", "mmcv", "mmdet", "torchvision", "PIL", "sklearn", "pycocotools")
_EXTRAS = {
    **dict.fromkeys(_ENGINE, "onedl"),
    "faiss": "retrieval",
    "pytorch_metric_learning": "retrieval",
    "timm": "cls",
    "scipy": "onedl",
    **dict.fromkeys(("sqlalchemy", "alembic", "argon2", "dlib"), "face"),
    **dict.fromkeys(
        ("fastapi", "uvicorn", "jinja2", "python_multipart", "prometheus_client"), "face"
    ),
    "pymysql": "mariadb",
    "psycopg": "postgresql",
    "ray": "ray",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
}


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import with the garbage collector off, in a ``with`` block or as a decorator.

    What modules define stays, so the hundreds of collections that torch and mmengine cause while
    they are imported find nothing; they take a fifth of the time. Within :func:`kept_imports` later
    collections leave it out as well, if it is much.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _kept and gc.get_count()[0] > _MANY:
            gc.freeze()
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def kept_imports() -> Iterator[None]:
    """Keep what :func:`quick_imports` imports out of all collections, in the process of a command.

    Objects that are alive at such an import are never collected if they become cyclic garbage, so
    this is not for a program of somebody else, which may have made models before.
    """
    _kept.append(True)
    try:
        yield
    finally:
        _kept.pop()


def lazy_names(
    package: str, homes: Mapping[str, str], first: str = "", plain: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package whose names are imported on use.

    Type checkers need the plain imports besides, under ``if TYPE_CHECKING``.

    Args:
        package: Its ``__name__``.
        homes: Public name to the module that defines it.
        first: Module that is imported before a name is, such as one that refuses a wrong
            environment; none if empty.
        plain: Names that do not need it.

    Returns:
        ``__getattr__`` and ``__dir__``, to be assigned in the package's ``__init__.py``.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with quick_imports():
            if first and name not in plain:
                importlib.import_module(first)
            value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names


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
