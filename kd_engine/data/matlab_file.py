"""Variables of MATLAB files, in which some datasets keep their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_matlab(path: Path, names: Sequence[str], squeeze: bool = False) -> list[NDArray[Any]]:
    """Read variables of a MATLAB file.

    Args:
        path: The file.
        names: Variables, or fields of one, as ``annotations.class``.
        squeeze: Leave out axes of length 1, down to one axis.

    Raises:
        ValueError: If the file cannot be read, or one of them is missing.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(
            path, variable_names=[name.partition(".")[0] for name in names], squeeze_me=squeeze
        )
        found = []
        for name in names:
            variable, _, field = name.partition(".")
            value = content[variable][field] if field else content[variable]
            found.append(np.atleast_1d(value))
        return found
    except Exception as error:  # a broken file makes scipy raise nearly anything
        raise ValueError(
            f"{path} must be a MATLAB file with {', '.join(names)}, but reading it fails: "
            f"{error!r}. Fetch it again."
        ) from error
