"""Distillation in plain PyTorch: losses, feature hooks, frozen teachers, the distiller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kd_core.packages import lazy_names

if TYPE_CHECKING:
    from kd_core.checkpoint.inherit import inherit_weights
    from kd_core.distiller import Distiller
    from kd_core.gradients.auto_weight import AutoWeight
    from kd_core.gradients.gradient_shares import GradientShares
    from kd_core.normalization import Normalization
    from kd_core.teacher import FrozenTeacher
    from kd_core.term import Term
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "AutoWeight": "kd_core.gradients.auto_weight",
            "Distiller": "kd_core.distiller",
            "FrozenTeacher": "kd_core.teacher",
            "GradientShares": "kd_core.gradients.gradient_shares",
            "inherit_weights": "kd_core.checkpoint.inherit",
            "Normalization": "kd_core.normalization",
            "Term": "kd_core.term",
        },
    )

__all__ = [
    "AutoWeight",
    "Distiller",
    "FrozenTeacher",
    "GradientShares",
    "Normalization",
    "Term",
    "inherit_weights",
]
