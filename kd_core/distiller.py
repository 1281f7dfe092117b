"""Distiller: a student learns from frozen teachers; it is attached to the student and detached."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import kd_core.loss_checks as loss_checks
from kd_core.base_distiller import BaseDistiller, Call
from kd_core.checks import check_weights
from kd_core.dry_run import Run, dry_run
from kd_core.layers import LayerPath
from kd_core.layouts import AllFeatures, Layouts, all_features, image_size_of
from kd_core.pairs import LevelPairs
from kd_core.relations.gram import shared_energies
from kd_core.shapes import ShapeTable
from kd_core.teacher import Forward, FrozenTeacher, eval_mode
from kd_core.teacher_shares import share_samples
from kd_core.term import ONLY_TEACHER, Term
from kd_core.term_connectors import TermConnectors, idle_parameters
from kd_core.terms import inputs_of, layers_of, require_teachers, start_of, whose


class Distiller(BaseDistiller):
    """Distiller that adds ``loss_<term>`` to the losses of a student in training.

    ``attach`` hooks the named layers of student and teacher. In every training forward the teacher
    runs on the student's own inputs, and the terms are added to the dict of losses that the student
    returns; a plain network, which returns something else, gets them from :meth:`losses`. The
    distiller becomes the student's child ``distiller``: its iteration and all that is trained along
    (connectors, a loss's own parameters) are saved under ``distiller.``; the teacher is not.

    Args:
        teacher: The trained model; wrapped in a :class:`FrozenTeacher` if it is not one. Or a
            mapping of names to several: then each term says by ``teacher`` whose layers it takes.
        terms: Name to :class:`Term`.
        gradient_shares: Where and how often to log ``gradient_share_<term>``; off if ``None``.
        check_finite: Stop at a term, or a loss of the student's own, that is NaN or infinite; on a
            GPU a step later, so as not to wait for it (``finite.look()`` after the last one).
        extra_inputs: What losses need besides the layers, made of the arguments of the student's
            forward by name: boxes from a detector's samples, for example.

    Raises:
        ValueError: If there is no term, a name is empty, "task", or has a dot or "loss" in it, or
            terms and teachers do not fit.

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
        teacher: FrozenTeacher | nn.Module | Mapping[str, FrozenTeacher | nn.Module],
        terms: Mapping[str, Term],
        gradient_shares: loss_checks.GradientMeter | None = None,
        check_finite: bool = True,
        extra_inputs: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    ) -> None:
        taken = ("", "task", *dir(nn.ModuleDict))
        bad = [n for n in terms if n in taken or "." in n or "loss" in n]
        if bad or not terms:
            raise ValueError(
                "a Distiller needs at least one term, and a name must not be empty or 'task', nor "
                "have a dot or 'loss' in it (it is logged as loss_<name>), nor be one of torch's, "
                f"such as 'items', but got {list(terms)}."
            )
        models = teacher if isinstance(teacher, Mapping) else {ONLY_TEACHER: teacher}
        require_teachers(terms, models)
        super().__init__({name: FrozenTeacher.of(model) for name, model in models.items()})
        self.terms = dict(terms)
        self.gradient_shares = gradient_shares
        self.finite = loss_checks.FiniteCheck(check_finite)
        self._extra_inputs = extra_inputs
        self.criteria = nn.ModuleDict({name: term.loss for name, term in terms.items()})
        self.connectors = TermConnectors()
        automatic = {n: (t.auto, layers_of({n: t}, "student")) for n, t in terms.items() if t.auto}
        self.auto_weights: Any = None  # the weights that are measured in training
        if automatic:
            self.auto_weights = next(iter(automatic.values()))[0].of_terms(automatic)
        self.shape_table: ShapeTable | None = None
        self._teacher_outputs: dict[str, Any] = {}  # of this forward, by term
        self._mean_shares: dict[str, Tensor] = {}  # in this step, of terms of several teachers
        self._reached: set[str] = set()  # terms that have moved the student
        self._clear()

    @property
    def teacher(self) -> FrozenTeacher:
        """The only teacher.

        Raises:
            ValueError: If there are several.
        """
        if len(self.teachers) > 1:
            raise ValueError(
                f"there must be one teacher, but there are {', '.join(self.teachers)}. "
                "Take one by its name, as in teachers['name']."
            )
        return next(iter(self.teachers.values()))

    def student_layers(self, student: nn.Module) -> list[LayerPath]:
        """Return the student's layers of all terms, and those that inputs and teachers need."""
        more = [path for t in self.terms.values() for paths in t.inputs.values() for path in paths]
        more += [path for one in self.teachers.values() for path in one.follows.values()]
        return layers_of(self.terms, "student") + more

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return the teachers: name for messages, module, and that it is not trained."""
        return [(f"the {whose(n)}", one.model, False) for n, one in self.teachers.items()]

    def dry_run(
        self, student: nn.Module, example: Sequence[Any] | None, forward: Forward | None
    ) -> None:
        """Check the layers; with an example also find shapes, make connectors and try each loss.

        Raises:
            ValueError: If a layer does not exist or the shapes do not fit a loss.
        """
        self._clear()
        for name, teacher in self.teachers.items():
            teacher.check(layers_of(self.terms_of(name), "teacher"), whose(name))
            teacher.bind(term.loss for term in self.terms_of(name).values())
        if self.gradient_shares is not None:
            self.gradient_shares.parameters(student)
        if self.auto_weights is not None:
            self.auto_weights.prepare(student)
        if example is not None:
            self._run_example(student, tuple(example), forward)

    def terms_of(self, teacher: str) -> dict[str, Term]:
        """Return the terms that compare with a teacher."""
        return {name: term for name, term in self.terms.items() if term.teacher == teacher}

    def known_inputs(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return all that losses may need besides the layers, by name.

        Args:
            named: Arguments of the student's forward, by name; ``image_size``, height and width in
                pixels of the images among them, is added.
        """
        made = {} if self._extra_inputs is None else self._extra_inputs(named)
        return {"image_size": image_size_of(named.values())} | dict(made) | dict(named)

    def active_terms(self) -> dict[str, float]:
        """Return the factor of each term, where not 0, at the present iteration.

        Raises:
            ValueError: If a schedule makes one negative or not finite.
        """
        count = self.current_iteration()
        factors = {name: term.factor(count) for name, term in self.terms.items()}
        at = f"at iteration {count}"
        check_weights(**{f"the factor of term {name!r} {at}": one for name, one in factors.items()})
        return {name: factor for name, factor in factors.items() if factor != 0.0}

    def start_iteration(self) -> int:
        """Return the first iteration at which most terms count."""
        return start_of(self.terms.values())

    def set_run_length(self, epoch_length: int, total: int | None = None) -> None:
        """Let schedules in epochs, or in shares of the run, know how long it is."""
        for term in self.terms.values():
            term.set_run_length(epoch_length, total)

    def is_active(self) -> bool:
        """Return whether a term is not 0 at the present iteration."""
        return bool(self.active_terms())

    def pre_forward(
        self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Run each teacher that follows no layer of the student, as far as its terms need it."""
        self._teacher_outputs = self._run_teachers(self.active_terms(), args, kwargs, late=False)

    def post_forward(self, call: Call) -> dict[str, Tensor]:
        """Compare the student's features with the teacher's.

        Raises:
            ValueError: If a layer did not run, shapes do not fit, an extra input of a loss is
                missing, or a term cannot move the student (checked once, in the term's first step).
            FloatingPointError: If a term, or a loss of the student's own, is not finite.
        """
        factors, self._mean_shares = self.active_terms(), {}
        found = self._values(call, factors) if factors else {}
        weights = self._weigh(found, call)
        values = {}
        for name, parts in found.items():
            factor = factors[name] * weights.get(name, 1.0)
            values[name] = {key: factor * part for key, part in parts.items()}
        result = loss_checks.merge_losses(values, call.task)
        self.finite.add(result, call.iteration, call.task)
        result |= self._shares(values, call) | self._mean_shares
        for name, weight in weights.items():
            result[f"weight_{name}"] = torch.full_like(self.iteration, weight, dtype=torch.float32)
        return result | self.idle_loss(idle_parameters((self.connectors, self.criteria), factors))

    def _weigh(self, losses: Mapping[str, Mapping[str, Tensor]], call: Call) -> dict[str, float]:
        if self.auto_weights is None:
            return {}
        task = loss_checks.total_loss(call.task).get("task", call.extra_inputs.get("task_loss"))
        return dict(self.auto_weights.weigh(call.student, call.iteration, losses, task))

    def _values(self, call: Call, factors: Mapping[str, float]) -> dict[str, dict[str, Tensor]]:
        known = self.known_inputs(call.named())
        terms = {name: self.terms[name] for name in factors}
        images = [*call.args, *call.kwargs.values()]
        found = call.hooks.read_all({name: term.student_layers for name, term in terms.items()})
        student = self.layouts["student"].turn(found, images)
        late = self._run_teachers(factors, call.args, call.kwargs, late=True)
        teacher = self.layouts["teacher"].turn(self._teacher_outputs | late, images)
        student, teacher = self.pairs.select(student, teacher)
        self._teacher_outputs = {}
        inputs = inputs_of(terms, known, call.hooks.read_first)
        self._mean_shares = share_samples(terms, teacher, inputs)
        values = {}
        with shared_energies(one for side in (student, teacher) for one in all_features(side)):
            for name in terms:
                parts = self._compare(name, student[name], teacher[name], inputs[name])
                values[name] = {f"loss_{name}{p and '_' + p}": one for p, one in parts.items()}
        return values

    def _compare(self, name: str, student: Any, teacher: Any, needed: Any) -> dict[str, Tensor]:
        term, what, reached = self.terms[name], f"term {name!r}", name in self._reached
        if not reached:
            loss_checks.require_gradients(what, term.student_layers, student)
        connected = self.connectors.connect(name, student)
        parts = term.compare(student, teacher, needed, connected)
        if not reached and loss_checks.require_influence(what, student, list(parts.values())):
            self._reached.add(name)
        return parts

    def _run_teachers(self, active: Container[str], args: Any, kwargs: Any, late: bool) -> Any:
        """Run the teachers of active terms that follow the student (``late``), or the others."""
        found: dict[str, Any] = {}
        for name, teacher in self.teachers.items():
            terms = [term for term in self.terms_of(name) if term in active]
            if terms and late == bool(teacher.follows):
                found |= self._run_teacher(name, args, kwargs, terms)
        return found

    def _run_teacher(self, name: str, args: Any, kwargs: Any, terms: Iterable[str]) -> AllFeatures:
        teacher, hooks = self.teachers[name], self._hooks
        wanted = {term: self.terms[term].teacher_layers for term in terms}
        assert hooks is not None
        if followed := {key: hooks.read([path]) for key, path in teacher.follows.items()}:
            kwargs = {**kwargs, "followed": followed}
        return teacher.run(args, kwargs, wanted, whose(name))

    def _run_example(
        self, student: nn.Module, example: tuple[Any, ...], forward: Forward | None
    ) -> None:
        hooks = self._hooks
        assert hooks is not None

        def run_student(arguments: tuple[Any, ...]) -> AllFeatures:
            hooks.clear()
            _ = student(*arguments) if forward is None else forward(student, *arguments)
            return hooks.read_all({name: term.student_layers for name, term in self.terms.items()})

        def run_teacher(name: str, arguments: tuple[Any, ...]) -> AllFeatures:
            if self.teachers[name].follows:
                run_student(arguments)  # it may have seen other images since then
            return self._run_teacher(name, arguments, {}, self.terms_of(name))

        runs: list[tuple[str, nn.Module, Run]] = [("student", student, run_student)]
        for name, teacher in self.teachers.items():
            runs.append(("teacher", teacher.model, functools.partial(run_teacher, name)))
        hooks.active = True
        try:
            with eval_mode(student):
                self.shape_table = dry_run(
                    self.terms, self.layouts, self.connectors, self.pairs, runs, example
                )
        finally:
            hooks.active = False
            hooks.clear()

    def _shares(self, values: Mapping[str, Mapping[str, Tensor]], call: Call) -> dict[str, Tensor]:
        shares = self.gradient_shares
        if shares is None or not shares.due(call.iteration):
            return {}
        losses = {name: torch.stack(list(v.values())).sum() for name, v in values.items()}
        found = shares.measure(call.student, losses | loss_checks.total_loss(call.task))
        task = self.own("gradient_share_task")
        return {task if n == "task" else f"gradient_share_{n}": one for n, one in found.items()}

    def _clear(self) -> None:
        self._reached.clear()
        self.layouts: dict[str, Layouts] = {side: Layouts(side) for side in ("student", "teacher")}
        self.pairs = LevelPairs(self.terms)
