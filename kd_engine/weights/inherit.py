"""Inheriting in a run: modules of a student start with its teacher's weights, once.

mmengine calls ``init_weights`` when a training starts, and then loads what ``load_from`` names. So
inheriting comes last: after both and before the first step, and never where a run resumes.
"""

from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast
from mmengine.logging import print_log
from torch import nn

from kd_core import Distiller
from kd_core.checkpoint.inherit import Inherit

_PLACE = "inheritance"  # attribute of a distiller


class Inheritance:
    """Inheriting that a model's config asks for: it happens before the first training step.

    A run calls :func:`inherit_now` at its start. In any other loop the student's first forward in
    training does, unless the distiller has counted steps before.

    Args:
        student: A student with its distiller.
        request: What it inherits.
    """

    def __init__(self, student: nn.Module, request: Inherit) -> None:
        self.request = request
        self._handle = student.register_forward_pre_hook(self._before_forward)

    def run(self, student: nn.Module) -> str:
        """Inherit for the last time, and return a line that says what."""
        self._handle.remove()
        distiller: Any = student.distiller
        return self.request.run(student, distiller.teachers).text

    def _before_forward(self, student: nn.Module, args: Any) -> None:
        if not student.training:
            return
        distiller: Any = getattr(student, "distiller", None)
        if distiller is None or distiller.current_iteration():  # detached, or a run that resumes
            self._handle.remove()
        else:
            _log(self.run(student))


def inherit_later(distiller: Distiller, student: nn.Module, request: Any) -> None:
    """Let a student inherit before its first training step; that it can is checked now.

    Args:
        distiller: Its distiller, attached.
        student: The student.
        request: ``inherit`` of a config: see :meth:`kd_core.checkpoint.inherit.Inherit.of`.

    Raises:
        ValueError: If the request is wrong, or something does not fit.
    """
    found = Inherit.of(request)
    found.check(student, distiller.teachers)
    setattr(distiller, _PLACE, Inheritance(student, found))


def inherit_now(student: nn.Module) -> list[str]:
    """Let a student inherit what its model's config asks for.

    Args:
        student: A model that has been initialized, distilled or not.

    Returns:
        A line that says what, for a student that inherits.
    """
    inheritance = getattr(getattr(student, "distiller", None), _PLACE, None)
    return [] if inheritance is None else [inheritance.run(student)]


def inherit_at_start(student: nn.Module) -> None:
    """Let a student inherit, in every process of a run the same, and log it."""
    if lines := inherit_now(student):
        for value in student.state_dict().values():
            broadcast(value)
        _log(lines[0])


def _log(line: str) -> None:
    print_log(f"The student starts with {line}.", "current")
