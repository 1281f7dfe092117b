"""Lazy imports of a package's public names (PEP 562): each is imported when it is first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


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
        if first and name not in plain:
            importlib.import_module(first)
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
