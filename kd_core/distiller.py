"""Distiller: a teacher's knowledge for an ordinary student, attached and taken away again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.base_distiller import BaseDistiller, Call, idle_loss
from kd_core.connectors import TermConnectors, idle_parameters, prepare_and_try
from kd_core.layers import LayerPath
from kd_core.loss_checks import (
    GradientShares,
    check_finite,
    merge_losses,
    require_gradients,
    require_influence,
    total_loss,
)
from kd_core.shapes import AllFeatures, Layouts, ShapeTable, hints_of
from kd_core.teacher import Forward, FrozenTeacher
from kd_core.term import Term, layers_of, pick_required, require_factor

_LATEST = 100_000  # iterations in which a term is expected to begin


class Distiller(BaseDistiller):
    """Adds ``loss_<term>`` to the losses of a student in training.

    ``attach`` hooks the named layers of student and teacher. In every training forward the
    teacher runs on the student's own inputs, and the terms are added to the dict of losses
    that the student returns. A student that returns something else (a plain network) gets them
    from :meth:`losses`. In eval mode and without gradients nothing happens. The teacher runs
    before the student: so it has given its memory back when the student keeps its activations.

    The distiller becomes the student's child ``distiller``: its iteration and what is trained
    along with the student (connectors, a loss's own parameters) are saved under ``distiller.``; the
    teacher is not.

    Args:
        teacher: The trained model; wrapped in a :class:`FrozenTeacher` if it is not one.
        terms: Name to :class:`Term`.
        gradient_shares: Where and how often to log ``gradient_share_<term>``; off if ``None``.
        check_finite: Stop at a term, or a loss of the student's own, that is NaN or infinite.

    Raises:
        ValueError: If there is no term, or a name is empty, "task", or has a dot or "loss" in it.

    Example:
        >>> from kd_core.losses import AttentionTransferLoss
        >>> student, teacher = (nn.Sequential(nn.Conv2d(3, c, 3), nn.Flatten()) for c in (4, 8))
        >>> term = Term(AttentionTransferLoss(), layers="0")
        >>> _ = Distiller(teacher, {"at": term}).attach(student)
        >>> _ = student(torch.randn(2, 3, 8, 8))
        >>> list(student.distiller.losses())
        ['loss_at']
    """

    def __init__(
        self,
        teacher: FrozenTeacher | nn.Module,
        terms: Mapping[str, Term],
        gradient_shares: GradientShares | None = None,
        check_finite: bool = True,
    ) -> None:
        bad = [n for n in terms if n in ("", "task") or "." in n or "loss" in n]
        if bad or not terms:
            raise ValueError(
                "a Distiller needs at least one term, and a name must not be empty or 'task', nor "
                f"have a dot or 'loss' in it (it is logged as loss_<name>), but got {list(terms)}."
            )
        frozen = teacher if isinstance(teacher, FrozenTeacher) else FrozenTeacher(teacher)
        super().__init__({"the teacher": frozen})
        self.teacher = frozen
        self.terms = dict(terms)
        self.gradient_shares = gradient_shares
        self.check_finite = check_finite
        self.criteria = nn.ModuleDict({name: term.loss for name, term in terms.items()})
        self.connectors = TermConnectors()
        self.shape_table: ShapeTable | None = None
        self.layouts = {side: Layouts(side) for side in ("student", "teacher")}
        self._teacher_outputs: AllFeatures = {}  # the teacher's, to this forward
        self._reached: set[str] = set()  # terms that were seen to move the student

    def student_layers(self, student: nn.Module) -> list[LayerPath]:
        """Return the student's layers of all terms."""
        return layers_of(self.terms, "student")

    def dry_run(
        self, student: nn.Module, example: Sequence[Any] | None, forward: Forward | None
    ) -> None:
        """Check the layers; with an example also find shapes, make connectors and try each loss.

        Raises:
            ValueError: If a layer does not exist or the shapes do not fit a loss.
        """
        self._reached.clear()
        self.layouts = {side: Layouts(side) for side in self.layouts}
        self.teacher.check(layers_of(self.terms, "teacher"))
        if self.gradient_shares is not None:
            self.gradient_shares.parameters(student)
        if example is not None:
            self._run_example(student, tuple(example), forward)

    def active_terms(self) -> dict[str, float]:
        """Return the factor of each term that is not 0 at the present iteration.

        Raises:
            ValueError: If a schedule makes one negative or not finite.
        """
        count = self.current_iteration()
        factors = {name: term.factor(count) for name, term in self.terms.items()}
        for name, factor in factors.items():
            require_factor(f"the factor of term {name!r} at iteration {count}", factor)
        return {name: factor for name, factor in factors.items() if factor != 0.0}

    def start_iteration(self) -> int:
        """Return the first iteration at which most terms count, all of them if there is such one.

        Terms of weight 0 are left out, and iterations from 100,000 on.
        """
        terms = [term for term in self.terms.values() if term.weight]
        best = 0, 0
        for iteration in range(_LATEST):
            count = sum(term.factor(iteration) != 0.0 for term in terms)
            if count > best[0]:
                best = count, iteration
            if count == len(terms):
                break
        return best[1]

    def is_active(self) -> bool:
        """Return whether a term is not 0 at the present iteration."""
        return bool(self.active_terms())

    def pre_forward(
        self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Run the teacher, as far as a term of weight above 0 needs it."""
        wanted = {name: self.terms[name].teacher_layers for name in self.active_terms()}
        self._teacher_outputs = self.teacher.run(args, kwargs, wanted)

    def post_forward(self, call: Call) -> dict[str, Tensor]:
        """Compare the student with what the teacher has answered.

        Raises:
            ValueError: If a layer did not run, shapes do not fit, a loss lacks an extra input, or a
                term cannot move the student (looked at once, in the term's first step).
            FloatingPointError: If a term, or a loss of the student's own, is not finite.
        """
        factors = self.active_terms()
        values = self._values(call, factors) if factors else {}
        result = merge_losses(values, call.task)
        if self.check_finite:
            check_finite(result, call.iteration, call.task)
        result |= self._shares(values, call)
        return result | idle_loss(idle_parameters((self.connectors, self.criteria), factors))

    def _values(self, call: Call, factors: Mapping[str, float]) -> dict[str, dict[str, Tensor]]:
        known = call.named()
        terms = {name: self.terms[name] for name in factors}
        images = [*call.args, *call.kwargs.values()]
        found = call.hooks.read_all({name: term.student_layers for name, term in terms.items()})
        student = self.layouts["student"].turn(found, images)
        teacher = self.layouts["teacher"].turn(self._teacher_outputs, images)
        self._teacher_outputs = {}
        values = {}
        for name, term in terms.items():
            needed = pick_required(name, term.requires, known)
            if name not in self._reached:
                require_gradients(f"term {name!r}", term.student_layers, student[name])
            connected = self.connectors.connect(name, student[name])
            parts = term.compare(student[name], teacher[name], needed, connected)
            if name not in self._reached:
                values_of_term = list(parts.values())
                if require_influence(f"term {name!r}", student[name], values_of_term):
                    self._reached.add(name)
            values[name] = {
                f"loss_{name}_{part}" if part else f"loss_{name}": factors[name] * value
                for part, value in parts.items()
            }
        return values

    def _run_example(
        self, student: nn.Module, example: tuple[Any, ...], forward: Forward | None
    ) -> None:
        hooks = self._hooks
        assert hooks is not None

        def run_student(arguments: tuple[Any, ...]) -> AllFeatures:
            hooks.clear()
            _ = student(*arguments) if forward is None else forward(student, *arguments)
            return hooks.read_all({name: term.student_layers for name, term in self.terms.items()})

        def run_teacher(arguments: tuple[Any, ...]) -> AllFeatures:
            wanted = {name: term.teacher_layers for name, term in self.terms.items()}
            return self.teacher.run(arguments, {}, wanted)

        models = {"student": (student, run_student), "teacher": (self.teacher.model, run_teacher)}
        modes = [(module, module.training) for module in student.modules()]
        hooks.active = True
        try:
            with torch.no_grad():
                student.eval()
                turned = {}
                for side, (model, run) in models.items():
                    found, layouts = run(example), self.layouts[side]
                    layouts.find(found, example, run, hints_of(model, self.terms, side))
                    turned[side] = layouts.turn(found, example)
                self._fit(turned["student"], turned["teacher"])
        finally:
            for module, mode in modes:
                module.training = mode
            hooks.active = False
            hooks.clear()

    def _fit(self, student: AllFeatures, teacher: AllFeatures) -> None:
        self.shape_table = ShapeTable(self.terms, student, teacher, self.layouts)
        self.connectors.add(self.shape_table)
        prepare_and_try(self.terms, self.connectors, self.shape_table, student, teacher)

    def _shares(self, values: Mapping[str, Mapping[str, Tensor]], call: Call) -> dict[str, Tensor]:
        if self.gradient_shares is None or not self.gradient_shares.due(call.iteration):
            return {}
        losses = {name: torch.stack(list(v.values())).sum() for name, v in values.items()}
        losses |= total_loss(call.task)
        if not losses:
            return {}
        shares = self.gradient_shares.measure(call.student, losses)
        return {f"gradient_share_{name}": share for name, share in shares.items()}
