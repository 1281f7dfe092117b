"""Distillation in plain PyTorch: losses, layer taps, frozen teachers, the distiller."""

from kd_core.distiller import Distiller
from kd_core.gradients import GradientShares
from kd_core.teacher import FrozenTeacher
from kd_core.term import Term

__all__ = ["Distiller", "FrozenTeacher", "GradientShares", "Term"]
