"""Plain objects that training programs save next to weights, rebuilt from their attributes.

timm, torchvision and many others save the `argparse.Namespace` of their command line. It holds no
code, but its stand-in takes no arguments and no special names, whatever the file says.
"""

from __future__ import annotations

import argparse
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any


class _Namespace(argparse.Namespace):
    """Stand-in for `argparse.Namespace`; saved as a plain one."""

    def __new__(cls, *arguments: Any, **named: Any) -> _Namespace:
        if arguments or named:
            raise ValueError("a call of argparse.Namespace with arguments is not allowed")
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        odd = [key for key in state if not isinstance(key, str) or key.startswith("__")]
        if not isinstance(state, dict) or odd:
            raise ValueError(f"attributes {odd} of argparse.Namespace are not allowed")
        self.__dict__.update(state)

    def __reduce__(self) -> Any:
        return argparse.Namespace, (), dict(self.__dict__)


HARMLESS: tuple[Any, ...] = (
    (_Namespace, "argparse.Namespace"),
    (PurePosixPath, "pathlib.PosixPath"),
    (PurePosixPath, "pathlib.PurePosixPath"),
    (PurePosixPath, "pathlib._local.PosixPath"),  # Python 3.13
    (PurePosixPath, "pathlib._local.PurePosixPath"),
    (PureWindowsPath, "pathlib.WindowsPath"),
    (PureWindowsPath, "pathlib.PureWindowsPath"),
    (PureWindowsPath, "pathlib._local.WindowsPath"),
    (PureWindowsPath, "pathlib._local.PureWindowsPath"),
)
"""Objects that every checkpoint may name: see `read_checkpoint(allowed=...)`."""
