"""Safe globals of the unpickler: what mmengine saves besides tensors and plain containers.

numpy's own functions for rebuilding arrays trust what they are told: `numpy.ndarray(1, "O", data)`
takes an object's address from the data. So a file that names them gets the stand-ins below.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer


class _Dtype:
    """Stand-in for `numpy.dtype`: plain numbers, bytes and text."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if not re.fullmatch(r"[biufcSU]\d+", code):
            raise ValueError(f"numpy.dtype({code!r}) is not allowed")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # Everything in the state but the byte order follows from the code.
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """Stand-in for `numpy.ndarray`: an array whose state is checked, and saved as a plain one."""

    def __new__(cls, *arguments: Any) -> _Array:
        if arguments:
            raise ValueError("a call of numpy.ndarray is not allowed")
        return super().__new__(cls, 0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        super().__setstate__((1, shape, kind.dtype, fortran, bytes(data)))

    def __reduce__(self) -> Any:
        return self.view(np.ndarray).__reduce__()


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(kind: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype, count=1)[0]


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}  # torch's reader fills plain dicts only


def _history_method(owner: Any, name: str) -> Any:
    """Stand-in for getattr: a HistoryBuffer carries its own methods in its state."""
    if owner is HistoryBuffer and name in ("min", "max", "current", "mean"):
        return getattr(owner, name)
    raise ValueError(f"getattr({owner!r}, {name!r}) is not allowed")


ALLOWED: tuple[Any, ...] = (
    (_reconstruct, "numpy.core.multiarray._reconstruct"),  # numpy 1
    (_reconstruct, "numpy._core.multiarray._reconstruct"),  # numpy 2
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    (_Array, "numpy.ndarray"),
    (_Dtype, "numpy.dtype"),
    (_history_method, "builtins.getattr"),
    (_plain_dict, "collections.defaultdict"),
    *(int, float, list, dict),  # what a defaultdict makes
    bytes,  # the data of an empty array
    HistoryBuffer,
)
"""For `read_checkpoint(allowed=...)`."""
