"""Term of a distillation: a loss, the layers it compares, and its weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kd_core.checks import check_choice, check_weights
from kd_core.connectors import CONNECTORS
from kd_core.layers import Features, LayerPath, levels_of
from kd_core.masks import SCORES, MapMask, is_filled, mask_of, masked
from kd_core.teacher_shares import SHARES, TeacherShares

Schedule = Callable[[int], float]
Layers = str | Sequence[str] | Mapping[str, str | Sequence[str]]
Normalize = Callable[[Features, Features], tuple[Features, Features]]

ONLY_TEACHER = "teacher"  # name of a teacher that needs none
WHOLE = ""  # the role of a loss without roles


class MeasuredWeight(Protocol):
    """Weight that is measured in training, such as :class:`kd_core.AutoWeight`."""

    def of_terms(self, terms: Mapping[str, tuple[Any, Sequence[LayerPath]]]) -> nn.Module:
        """Return the weights of terms: of each its own, and the student's layers it compares."""


class Term:
    """Term of a distillation: a loss, the layers of student and teacher, and its weight.

    Args:
        loss: One of ``kd_core.losses``, or any module ``loss(student, teacher)``.
        layers: The student's layers: a selector, several, or a mapping from role to selectors
            for a loss with roles (HMAT's low, mid, high).
        teacher_layers: The teacher's, in the same form; ``None`` takes the student's.
        weight: Factor on the loss, on top of its own ``loss_weight``; a
            :class:`kd_core.AutoWeight` steers it to a share of the gradient.
        schedule: Factors of the iteration, multiplied; empty is constant.
        teacher: Name of the teacher, where there are several.
        normalize: What both sides go through before the loss, after a connector, such as a
            :class:`kd_core.Normalization`: "logits" of the role "logits", others of all others.
        connector: Kind of the layers that give the student's features the teacher's channels, one
            of ``kd_core.connectors.CONNECTORS``; named, they are made also where channels are
            equal, or where the loss needs no equal ones (not in a loss's role that needs none).
            ``None`` takes "1x1-norm" or, of vectors, "linear-norm", where channels must be equal
            and are not.
        mask: What both sides' maps are multiplied with before the loss, after ``normalize``: a
            :class:`kd_core.masks.MapMask` or its kind; ``None`` for nothing.
        inputs: Name of an input that the loss takes besides the layers to the student's selector
            that gives it in training, such as "head.loss.input[1]"; of several, the first that ran.
        shares: How it shares its samples with terms of other teachers; ``None`` not at all.

    Raises:
        ValueError: If a selector cannot be read, the roles are not the loss's or differ, the
            weight or normalize is a name, the weight is negative or not finite, there is no such
            connector or mask, the loss requires no such input, or it takes no shares.
    """

    def __init__(
        self,
        loss: nn.Module,
        layers: Layers,
        teacher_layers: Layers | None = None,
        weight: float | MeasuredWeight = 1.0,
        schedule: Schedule | Sequence[Schedule] = (),
        teacher: str = ONLY_TEACHER,
        normalize: Normalize | None = None,  # from here on: for the few
        connector: str | None = None,
        mask: str | MapMask | None = None,
        inputs: Mapping[str, str | Sequence[str]] | None = None,
        shares: TeacherShares | None = None,
    ) -> None:
        if isinstance(weight, str) or isinstance(normalize, str):
            raise ValueError(
                "a Term takes no names, as a config does, but kd_core.AutoWeight(share=0.3) as its "
                f"weight and kd_core.Normalization('standard') as normalize; it got {weight!r} and "
                f"{normalize!r}."
            )
        self.auto: Any = weight if hasattr(weight, "of_terms") else None
        self.weight: Any = 1.0 if self.auto else weight
        check_weights(weight=self.weight)  # type: ignore[arg-type]  # it names what is no number
        if shares is not None:
            shares.require(loss, mask)
        if connector is not None:
            check_choice("connector", connector, CONNECTORS)
        self.loss = loss
        self.shares = shares
        self.teacher = teacher
        self.connector = connector
        self.normalize = normalize
        self.schedules: tuple[Schedule, ...] = (
            tuple(schedule) if isinstance(schedule, Sequence) else (schedule,)
        )
        self._in_iterations = self.schedules
        self.student_layers = _by_role(layers)
        self.teacher_layers = _by_role(layers if teacher_layers is None else teacher_layers)
        self._check_roles()
        self.set_mask(mask_of(mask))
        self.inputs = _by_role(inputs) if inputs else {}
        taken: Sequence[str] = getattr(loss, "takes", ())
        known = [*self.requires, *(name for name in taken if name != SHARES)]
        if unknown := sorted(set(self.inputs) - set(known)):
            raise ValueError(
                f"inputs must be some of {known}, which {type(loss).__name__} takes, not {unknown}."
            )

    def set_mask(self, mask: MapMask | None) -> None:
        """Replace the mask; its layers are read with the teacher's of the term."""
        self.mask = mask
        for one in (mask, self.shares):
            if one is not None and one.layers is not None:
                self.teacher_layers[SCORES] = _by_role(one.layers)[WHOLE]

    def layers(self, side: str) -> dict[str, list[LayerPath]]:
        """Return role to layers of the "student" or the "teacher"."""
        return {"student": self.student_layers, "teacher": self.teacher_layers}[side]

    def factor(self, iteration: int) -> float:
        """Return weight times schedules at an iteration, from 0; 1 as a measured weight."""
        schedules: float = math.prod(schedule(iteration) for schedule in self._in_iterations)
        return float(self.weight) * schedules

    def set_run_length(self, epoch_length: int, total: int | None) -> None:
        """Let the schedules know how many iterations an epoch and the run have."""
        self._in_iterations = tuple(
            schedule.in_iterations(epoch_length, total)
            if hasattr(schedule, "in_iterations")
            else schedule
            for schedule in self.schedules
        )

    def must_connect(self, role: str) -> bool:
        """Return whether the loss needs equal channels in this role."""
        equal: Any = getattr(self.loss, "equal_channels", False)
        return bool(equal) if isinstance(equal, bool) else role in equal

    def may_connect(self, role: str) -> bool:
        """Return whether a connector that the term names has a place in this role."""
        return self.must_connect(role) or not hasattr(self.loss, "roles")

    @property
    def default_connector(self) -> str | None:
        """Return the kind of connector that the loss was published with, if it has one."""
        return getattr(self.loss, "connector", None)

    @property
    def requires(self) -> tuple[str, ...]:
        """Return the inputs that loss and mask require besides the layers, such as ``labels``."""
        more = [one.requires for one in (self.mask, self.shares) if one is not None]
        return tuple(dict.fromkeys((*self._of_loss, *(name for names in more for name in names))))

    @property
    def _of_loss(self) -> tuple[str, ...]:
        return tuple(getattr(self.loss, "requires", ()))

    def prepare(self, student: Mapping[str, Features], teacher: Mapping[str, Features]) -> None:
        """Let a loss with parameters of its own make them, for features of these shapes.

        Args:
            student: Role to feature map (N, C_s, H, W) or list of them, connected where channels
                must be equal.
            teacher: The same roles.

        Raises:
            ValueError: If the loss refuses them.
        """
        prepare: Any = getattr(self.loss, "prepare", None)
        if prepare is not None:
            has_roles = hasattr(self.loss, "roles")
            teacher = {role: one for role, one in teacher.items() if role != SCORES}
            prepare(*((side if has_roles else side[WHOLE]) for side in (student, teacher)))

    def compare(
        self,
        student: Mapping[str, Features],
        teacher: Mapping[str, Features],
        extra_inputs: Mapping[str, Any] | None = None,
        connected: Mapping[str, Features] | None = None,
    ) -> dict[str, Tensor]:
        """Call the loss in the form that it takes.

        Args:
            student: Role to feature map (N, C_s, H, W) or list of them; the only role of a loss
                without roles is "".
            teacher: The same roles.
            extra_inputs: Inputs that the loss requires besides the layers, by name.
            connected: Role to the student's maps with the teacher's channels, for roles in which
                the channels differ.

        Returns:
            Part of the loss to scalar; the part of a loss that has one value is "". A layer that
            gave nothing in this batch, N = 0, makes it 0.

        Raises:
            ValueError: If the two have different numbers of levels, or the loss refuses them.
        """
        for role in self.student_layers:
            _check_levels(student[role], teacher[role])
        both = [*student.values(), *(connected or {}).values()]  # DDP waits for the connectors
        levels = [level for one in both for level in levels_of(one)]
        if any(len(level) == 0 for level in levels):  # such as masks of no box
            return {WHOLE: 0.0 * torch.stack([level.float().sum() for level in levels]).sum()}
        inputs, connected = extra_inputs or {}, connected or {}
        scores = teacher.get(SCORES, [])
        teacher = {role: one for role, one in teacher.items() if role != SCORES}
        taken = [role for role in student if self.mask and role != "logits"]
        mask: Any = self.mask
        roots = {r: mask.roots(student[r], teacher[r], inputs, scores) for r in taken}
        has_roles = hasattr(self.loss, "roles")
        if not has_roles:
            student, connected = {**student, **connected}, {}
        if self.normalize is not None:
            connected, _ = _normalized(self.normalize, connected, teacher)
            student, teacher = _normalized(self.normalize, student, teacher)
        student, connected = (masked(one, roots, 0) for one in (student, connected))
        teacher = masked(teacher, roots, 1)
        wanted = (*self._of_loss, *getattr(self.loss, "takes", ()))
        of_loss = {name: inputs[name] for name in wanted if name in inputs}
        if has_roles:
            more = {"connected": connected} if connected else {}
            value = self.loss(student, teacher, **of_loss, **more)
        else:
            value = self._compare_levels(student[WHOLE], teacher[WHOLE], of_loss)
        parts = dict(value) if isinstance(value, Mapping) else {WHOLE: value}
        return {name: part * is_filled(roots) for name, part in parts.items()} if roots else parts

    def _compare_levels(
        self, student: Features, teacher: Features, extra_inputs: Mapping[str, Any]
    ) -> Any:
        if getattr(self.loss, "accepts_lists", False) or not isinstance(student, list):
            return self.loss(student, teacher, **extra_inputs)
        values = [self.loss(*pair, **extra_inputs) for pair in zip(student, teacher, strict=True)]
        return sum(values[1:], start=values[0])

    def _check_roles(self) -> None:
        if set(self.student_layers) != set(self.teacher_layers):
            raise ValueError(
                f"layers and teacher_layers must name the same roles, but they name "
                f"{sorted(self.student_layers)} and {sorted(self.teacher_layers)}."
            )
        roles = getattr(self.loss, "roles", (WHOLE,))
        name = type(self.loss).__name__
        named = set(self.student_layers)
        unknown = sorted(named - set(roles) - {"logits"})
        if not unknown and (WHOLE in roles) == (WHOLE in named):
            return
        if WHOLE in roles:
            raise ValueError(
                f"{name} takes layers without roles, but got {sorted(self.student_layers)}."
            )
        raise ValueError(
            f"{name} takes layers as a mapping with the roles {', '.join(roles)}, but got "
            f"{sorted(self.student_layers) if WHOLE not in self.student_layers else 'no roles'}."
        )


def _normalized(
    normalize: Normalize, student: Mapping[str, Features], teacher: Mapping[str, Features]
) -> tuple[dict[str, Features], dict[str, Features]]:
    """Normalize the roles that the student has: all except logits, or logits alone."""
    sides = {role: (one, teacher[role]) for role, one in student.items()}
    scores = getattr(normalize, "of_logits", False)
    taken = [role for role in sides if role == WHOLE or (role == "logits") is scores]
    sides |= {role: normalize(*sides[role]) for role in taken}
    return {role: s for role, (s, _) in sides.items()}, {role: t for role, (_, t) in sides.items()}


def _by_role(layers: Layers) -> dict[str, list[LayerPath]]:
    if not isinstance(layers, Mapping):
        layers = {WHOLE: layers}
    parsed = {role: [LayerPath.parse(text) for text in _texts(n)] for role, n in layers.items()}
    if not parsed or not all(parsed.values()):
        raise ValueError(f"a term needs at least one layer in each role, but got {dict(layers)}.")
    return parsed


def _texts(named: Any) -> Sequence[str]:
    texts = [named] if isinstance(named, str) else named
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            "layers must be a name such as 'neck[0]', a list of names, or a dict of roles to "
            f"these, but got {named!r}."
        )
    return texts


def _check_levels(student: Features, teacher: Features) -> None:
    counts = [len(levels_of(item)) for item in (student, teacher)]
    if counts[0] != counts[1]:
        raise ValueError(
            f"student and teacher must have the same number of levels, but the student has "
            f"{counts[0]} and the teacher {counts[1]}. Select as many layers on both sides."
        )
