"""Distillation in a training loop of your own: one call attaches a teacher to a student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from kd_core import Distiller, FrozenTeacher, Term
from kd_core.checkpoint.inherit import Inherit, Modules
from kd_core.several_teachers import split_terms
from kd_core.term import Layers
from kd_core.term_options import term_of

ShortTerm = tuple[nn.Module, Layers] | tuple[nn.Module, Layers, Layers] | Mapping[str, Any]


def distill(
    student: nn.Module,
    teacher: FrozenTeacher | nn.Module | Mapping[str, FrozenTeacher | nn.Module],
    terms: Mapping[str, Term | ShortTerm],
    example: Sequence[Any] | None = None,
    inherit: Inherit | Modules | Mapping[str, Any] | None = None,
) -> Distiller:
    """Attach a teacher to a student, and return the distiller that holds the losses.

    Make the optimizer afterwards: from here on the student's parameters include what a term trains
    besides the student. ``distiller.detach()`` returns the plain student.

    Args:
        student: The model to train.
        teacher: The trained model; it is frozen, and no part of the student's ``state_dict``. Or
            name to each of several: then each term names its teacher, or several and their
            weights (:func:`kd_core.several_teachers.split_terms`).
        terms: Name to a :class:`Term`, or in short to its loss and layers,
            ``(loss, layers)`` or ``(loss, layers, teacher_layers)``, or to a dict as in a config:
            ``dict(loss=..., layers=..., weight="auto", share=0.3, normalize="standard")``.
        example: Arguments of one forward, such as ``(images,)``: a dry run checks every loss on
            their shapes and makes the connectors for layers of unequal channels.
        inherit: Modules of the student that start with the teacher's weights, such as
            ``["neck", "head"]``; see :meth:`kd_core.checkpoint.inherit.Inherit.of`. They are copied
            at once, so initialize the student before.

    Returns:
        The distiller, attached. ``distiller.losses()`` gives ``loss_<term>`` to scalar after each
        training forward of a student that returns no dict of losses itself.

    Raises:
        ValueError: If there is no term, one has an unknown option, a layer does not exist, the
            shapes do not fit a loss, student and teacher share a layer, or an inherited module
            does not fit.

    Example:
        >>> import torch
        >>> from kd_core.losses import SoftTargetLoss
        >>> student, teacher = nn.Sequential(nn.Linear(4, 3)), nn.Sequential(nn.Linear(4, 3))
        >>> distiller = distill(student, teacher, {"kd": (SoftTargetLoss(), "0")})
        >>> optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        >>> for inputs, labels in [(torch.randn(8, 4), torch.randint(3, (8,)))]:
        ...     loss = nn.functional.cross_entropy(student(inputs), labels)
        ...     loss = loss + sum(distiller.losses().values())
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        >>> list(distiller.detach().state_dict())
        ['0.weight', '0.bias']
    """
    made = {name: _term(name, one) for name, one in split_terms(terms).items()}
    distiller = Distiller(teacher, made)
    distiller.attach(student, example)
    if inherit:
        Inherit.of(inherit).run(student, distiller.teachers)
    return distiller


def _term(name: str, given: Term | ShortTerm) -> Term:
    if isinstance(given, Term):
        return given
    return term_of(name, given) if isinstance(given, Mapping) else Term(*given)
