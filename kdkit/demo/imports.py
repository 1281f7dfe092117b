"""Imports that each training of the demo needs, in one place: they take seconds.

The server from which the trainings are forked imports this module once for all of them.
"""

from __future__ import annotations

import contextlib
import io
import warnings

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")  # mmdet warns of optional packages
    import kd_det  # noqa: F401  isort: skip  before mmdet
    import mmdet.apis  # noqa: F401

    import kdkit.demo.training  # noqa: F401
