"""Knowledge distillation kit: small vision models learn from large ones.

Names are imported when they are first used, so that ``import kdkit`` takes no time.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from kd_core.packages import lazy_names

if TYPE_CHECKING:
    from kd_core.distiller import Distiller
    from kd_core.teacher import FrozenTeacher
    from kd_core.term import Term
    from kdkit.comparison import compare
    from kdkit.distillation import distill
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Distiller": "kd_core.distiller",
            "FrozenTeacher": "kd_core.teacher",
            "Term": "kd_core.term",
            "compare": "kdkit.comparison",
            "distill": "kdkit.distillation",
        },
    )

__all__ = ["Distiller", "FrozenTeacher", "Term", "__version__", "compare", "distill"]

try:
    __version__ = metadata.version("kdkit")
except metadata.PackageNotFoundError:  # a checkout on the path that is not installed
    __version__ = "0+unknown"
