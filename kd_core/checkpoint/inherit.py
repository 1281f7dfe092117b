"""Inheriting: modules of a student that start with the weights of their teacher's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from kd_core.checkpoint.finite import require_finite_weights
from kd_core.checkpoint.load import load_weights
from kd_core.checkpoint.module_pairs import (
    Misfit,
    ModulePair,
    Modules,
    misfit_table,
    module_pairs,
    module_paths,
)
from kd_core.teacher import FrozenTeacher

__all__ = ["Inherit", "InheritReport", "Modules", "inherit_weights"]

_LOGGER = logging.getLogger(__name__)
_OPTIONS = ("modules", "teacher", "skip_mismatched")


@dataclass(frozen=True)
class InheritReport:
    """Report of what a student has inherited.

    Attributes:
        copied: Keys of the student's ``state_dict`` that have the teacher's values.
        left_out: What did not fit, with ``skip_mismatched``.
        text: One line for a person.
    """

    copied: tuple[str, ...]
    left_out: tuple[Misfit, ...]
    text: str


@dataclass(frozen=True)
class Inherit:
    """Request that a student inherits modules; :meth:`of` reads one from a config or a call.

    Attributes:
        modules: Path of the student's module to that of the teacher's.
        teacher: Name of the teacher; ``None`` is the only one.
        skip_mismatched: Leave out the layers that do not fit, with a warning.
    """

    modules: Mapping[str, str]
    teacher: str | None = None
    skip_mismatched: bool = False

    @classmethod
    def of(cls, request: Inherit | Modules | Mapping[str, Any]) -> Inherit:
        """Read a request.

        Args:
            request: Module paths, such as ``["neck", "rpn_head"]``, or a dict with the keys
                ``modules`` (paths, or a mapping of the student's to the teacher's), ``teacher``
                and ``skip_mismatched``.

        Raises:
            ValueError: If it has another form, names no module, or one twice.
        """
        if isinstance(request, Inherit):
            return request
        options = dict(request) if isinstance(request, Mapping) else {"modules": request}
        if "modules" not in options or set(options) - set(_OPTIONS):
            raise ValueError(
                "inherit must be module paths such as ['neck', 'rpn_head'], or a dict of modules=, "
                f"teacher= and skip_mismatched=, but it has the keys {', '.join(map(str, options))}"
                ". Modules of other names go into it as modules=dict(neck='fpn')."
            )
        return cls(module_paths(options.pop("modules")), **options)

    def teacher_of(
        self, teachers: Mapping[str, FrozenTeacher | nn.Module]
    ) -> tuple[str, nn.Module]:
        """Return the teacher that is inherited from, and what messages call it.

        Raises:
            ValueError: If there are several and none is named, or there is none of the name.
        """
        if self.teacher is None and len(teachers) > 1:
            raise ValueError(
                f"there are the teachers {', '.join(teachers)}, so inherit must say from which: "
                f"inherit=dict(modules={list(self.modules)}, teacher={next(iter(teachers))!r})."
            )
        name = next(iter(teachers)) if self.teacher is None else self.teacher
        if name not in teachers:
            raise ValueError(
                f"the teacher of inherit must be one of {', '.join(map(repr, teachers))}, but it "
                f"is {name!r}."
            )
        found = teachers[name]
        whose = "teacher" if len(teachers) == 1 else f"teacher {name}"
        return whose, found.model if isinstance(found, FrozenTeacher) else found

    def check(self, student: nn.Module, teachers: Mapping[str, FrozenTeacher | nn.Module]) -> None:
        """Require that the modules fit, and copy nothing: see :func:`inherit_weights`."""
        whose, teacher = self.teacher_of(teachers)
        _fitting(module_pairs(student, teacher, self.modules, whose), self.skip_mismatched, whose)

    def run(
        self, student: nn.Module, teachers: Mapping[str, FrozenTeacher | nn.Module]
    ) -> InheritReport:
        """Copy the modules: see :func:`inherit_weights`.

        Args:
            student: The student.
            teachers: Name to each of its teachers.
        """
        whose, teacher = self.teacher_of(teachers)
        return inherit_weights(
            student, teacher, self.modules, skip_mismatched=self.skip_mismatched, whose=whose
        )


def inherit_weights(
    student: nn.Module,
    teacher: nn.Module,
    modules: Modules,
    *,
    skip_mismatched: bool = False,
    whose: str = "teacher",
) -> InheritReport:
    """Copy what named modules of a teacher have in their ``state_dict`` to its student.

    Parameters and buffers, all or none: each must be on both sides, in one shape.
    Nothing random happens, and what may be trained stays as it is.

    Args:
        student: Receives the values, in its own dtype and on its own device.
        teacher: A trained model with modules of the same shapes.
        modules: Dotted paths, as ``named_modules()`` prints them, or a mapping of the student's
            paths to the teacher's, where they differ.
        skip_mismatched: Leave out each layer of which a tensor does not fit, as a whole, and warn
            with the table of what is left out.
        whose: What messages call the teacher.

    Raises:
        ValueError: If a module does not exist or has no weights; if something does not fit (shows
            each name with both shapes, and the width that stands in the way), or, with
            ``skip_mismatched``, if nothing fits.
        kd_core.checkpoint.CheckpointError: If a weight of the teacher is NaN or infinite.

    Example:
        >>> student, teacher = (nn.Sequential(nn.Linear(w, 4), nn.Linear(4, 2)) for w in (3, 8))
        >>> inherit_weights(student, teacher, "1").text
        '1 (2 tensors) of the teacher'
    """
    pairs = module_pairs(student, teacher, modules, whose)
    chosen = _fitting(pairs, skip_mismatched, whose)
    for pair, weights in chosen:
        require_finite_weights(pair.module, weights, f"{pair.other} of the {whose}")
    for pair, weights in chosen:
        state = pair.module.state_dict()  # with the modules' versions
        state.update(weights)
        load_weights(pair.module, state, source=f"{pair.other} of the {whose}", ignore=())
    misfits = tuple(misfit for pair in pairs for misfit in pair.misfits())
    if misfits:
        _LOGGER.warning(
            "%s, so the layers of these are not inherited and stay as they are:\n%s",
            _obstacles(pairs, whose),
            misfit_table(misfits, whose),
        )
    counts = [f"{pair.path} ({len(weights)} tensors)" for pair, weights in chosen]
    copied = tuple(f"{pair.path}.{key}" for pair, weights in chosen for key in weights)
    return InheritReport(copied, misfits, f"{', '.join(counts)} of the {whose}")


def _fitting(
    pairs: Sequence[ModulePair], skip_mismatched: bool, whose: str
) -> list[tuple[ModulePair, dict[str, Any]]]:
    """Return the modules with what they inherit, if that is all or may be less."""
    misfits = [misfit for pair in pairs for misfit in pair.misfits()]
    chosen = [(pair, weights) for pair in pairs if (weights := pair.fitting())]
    if not misfits or (skip_mismatched and chosen):
        return chosen
    remedy = "Give the student the teacher's widths there, or leave the module out."
    if not skip_mismatched:
        remedy += " inherit=dict(modules=..., skip_mismatched=True) leaves out single layers."
    raise ValueError(
        f"every weight of an inherited module must fit, but {_obstacles(pairs, whose)}:\n"
        f"{misfit_table(misfits, whose)}\n{remedy}"
    )


def _obstacles(pairs: Sequence[ModulePair], whose: str) -> str:
    return "; ".join(line for pair in pairs if (line := pair.obstacle(whose)))
