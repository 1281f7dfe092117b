"""Attach a teacher's knowledge to an ordinary student, and take it away again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kd_core.beside import named_arguments, pick_needed
from kd_core.fit import TermConnectors, idle_parameters, prepare_and_try
from kd_core.gradients import GradientShares
from kd_core.layers import Selector, Taps
from kd_core.logged import check_finite, merge_losses, total_loss
from kd_core.shapes import ShapeTable
from kd_core.teacher import FrozenTeacher
from kd_core.term import Features, Term

Forward = Callable[..., Any]


class Distiller(nn.Module):
    """Adds ``loss_<term>`` to the losses of a student in training.

    ``attach`` hooks the named layers of student and teacher. In every training forward the
    teacher runs on the student's own inputs, and the terms are added to the dict of losses
    that the student returns. A student that returns something else (a plain network) gets them
    from :meth:`losses`. In eval mode and without gradients nothing happens.

    The distiller becomes the student's child ``distiller``: its iteration and what is trained
    beside the student (connectors, a loss's own parameters) are saved under ``distiller.``; the
    teacher is not.

    Args:
        teacher: The trained model; wrapped in a :class:`FrozenTeacher` if it is not one.
        terms: Name to :class:`Term`.
        gradient_shares: Where and how often to log ``gradient_share_<term>``; off if ``None``.
        check_finite: Stop at a term that is NaN or infinite.

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

    iteration: Tensor

    def __init__(
        self,
        teacher: FrozenTeacher | nn.Module,
        terms: Mapping[str, Term],
        gradient_shares: GradientShares | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__()
        bad = [n for n in terms if n in ("", "task") or "." in n or "loss" in n]
        if bad or not terms:
            raise ValueError(
                "a Distiller needs at least one term, and a name must not be empty or 'task', nor "
                f"have a dot or 'loss' in it (it is logged as loss_<name>), but got {list(terms)}."
            )
        self.teacher = teacher if isinstance(teacher, FrozenTeacher) else FrozenTeacher(teacher)
        self.terms = dict(terms)
        self.gradient_shares = gradient_shares
        self.check_finite = check_finite
        self.criteria = nn.ModuleDict({name: term.loss for name, term in terms.items()})
        self.connectors = TermConnectors()
        self.shape_table: ShapeTable | None = None
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))
        self._count: int | None = None  # the iteration without a wait for the GPU
        self._student: tuple[nn.Module, ...] = ()  # in a tuple, so that it is no child
        self._taps: Taps | None = None
        self._handles: list[RemovableHandle] = []
        self._call: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def attach(
        self,
        student: nn.Module,
        example: Sequence[Any] | None = None,
        forward: Forward | None = None,
    ) -> nn.Module:
        """Listen to a student, and become its child ``distiller``.

        Args:
            student: The model to train.
            example: Arguments of a dry run that finds the shapes, checks every loss on them
                and makes the connectors. Without it, losses that need equal channels must get
                them from the layers as they are.
            forward: How to run the student in the dry run, ``forward(student, *example)``; the
                default calls it.

        Returns:
            The student.

        Raises:
            ValueError: If a layer does not exist, the shapes do not fit a loss, or student or
                distiller are attached already.
        """
        if self._student or hasattr(student, "distiller"):
            raise ValueError(
                "the distiller must be free and the student must have no child 'distiller', but "
                "one of them is attached already. Call detach() first."
            )
        self._taps = Taps(student, _selectors(self.terms, "student"), "student")
        try:
            self.teacher.check(_selectors(self.terms, "teacher"))
            if self.gradient_shares is not None:
                self.gradient_shares.parameters(student)
            if example is not None:
                self._dry_run(student, tuple(example), forward)
        except Exception:
            self._taps.remove()
            raise
        self._handles = [
            student.register_forward_pre_hook(self._start, with_kwargs=True),
            student.register_forward_hook(self._finish, with_kwargs=True),
        ]
        self._student = (student,)
        where = next((p.device for p in student.parameters()), self.iteration.device)
        self.iteration = self.iteration.to(where)  # DDP wants all buffers in one place
        student.distiller = self
        return student

    def detach(self) -> nn.Module:
        """Take everything away; the student is as it was.

        Raises:
            ValueError: If the distiller is not attached.
        """
        if not self._student or self._taps is None:
            raise ValueError("the distiller is not attached to a student.")
        for handle in self._handles:
            handle.remove()
        self._taps.remove()
        (student,) = self._student
        del student.distiller
        self._student, self._handles, self._taps, self._call = (), [], None, None
        return student

    def forward(self, features: Any) -> Any:
        """Return what came in: a Sequential student runs its children, and this is one now."""
        return features

    def losses(self, **beside: Any) -> dict[str, Tensor]:
        """Return the terms of the student's last training forward, once.

        For students that return no dict of losses: add the sum of these to your own loss.

        Args:
            beside: What losses need beside the layers and the student's forward does not take,
                such as ``labels=labels``.

        Raises:
            RuntimeError: If the student has not run in training mode since the last call.
            ValueError: If a loss needs something that neither this call nor the forward has.
        """
        if self._call is None:
            raise RuntimeError("losses() needs a forward of the student in training mode first.")
        args, kwargs = self._call
        self._call = None
        return self._step(args, kwargs, {}, beside)

    def active_terms(self) -> dict[str, float]:
        """Return the factor of each term that is not 0 at the present iteration."""
        if self._count is None:
            self._count = int(self.iteration)
        factors = {name: term.factor(self._count) for name, term in self.terms.items()}
        return {name: factor for name, factor in factors.items() if factor != 0.0}

    def _start(self, student: nn.Module, args: Any, kwargs: Any) -> None:
        assert self._taps is not None
        self._taps.clear()
        self._call = None
        self._taps.active = bool(
            student.training and torch.is_grad_enabled() and self.active_terms()
        )
        if self._taps.active:
            self._taps.hook(student)

    def _finish(self, student: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        assert self._taps is not None
        self._taps.active = False
        if not (student.training and torch.is_grad_enabled()):
            return
        if isinstance(output, dict) and any("loss" in str(key) for key in output):
            output.update(self._step(args, kwargs, output, {}))
        else:
            self._call = (args, kwargs)

    def _step(
        self, args: Any, kwargs: Any, task: Mapping[str, Any], beside: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        factors = self.active_terms()
        try:
            values = self._values(args, kwargs, factors, beside) if factors else {}
        finally:
            if self._taps is not None:
                self._taps.clear()
        result = merge_losses(values, task)
        if self.check_finite:
            check_finite(result, self._count or 0)
        result |= self._shares(values, task)
        beside_it = (self.connectors, self.criteria)
        idle = idle_parameters(beside_it, factors) if _distributed() else []
        if idle:  # DDP waits for every parameter's gradient
            result["loss_idle_connectors"] = 0.0 * torch.stack([p.sum() for p in idle]).sum()
        self.iteration += 1
        assert self._count is not None
        self._count += 1
        return result

    def _values(
        self, args: Any, kwargs: Any, factors: Mapping[str, float], beside: Mapping[str, Any]
    ) -> dict[str, dict[str, Tensor]]:
        assert self._taps is not None
        known = named_arguments(self._student[0], args, kwargs) | dict(beside)
        terms = {name: self.terms[name] for name in factors}
        student = self._taps.read_all({name: term.student for name, term in terms.items()})
        teacher = self.teacher.run(args, kwargs, {n: term.teacher for n, term in terms.items()})
        values = {}
        for name, term in terms.items():
            needed = pick_needed(name, term.needs, known)
            connected = self.connectors.connect(name, student[name])
            parts = term.compare(connected, teacher[name], needed)
            values[name] = {
                f"loss_{name}_{part}" if part else f"loss_{name}": factors[name] * value
                for part, value in parts.items()
            }
        return values

    def _dry_run(
        self, student: nn.Module, example: tuple[Any, ...], forward: Forward | None
    ) -> None:
        assert self._taps is not None
        modes = [(module, module.training) for module in student.modules()]
        self._taps.active = True
        try:
            with torch.no_grad():
                student.eval()
                _ = student(*example) if forward is None else forward(student, *example)
                features = self._taps.read_all({n: t.student for n, t in self.terms.items()})
                wanted = {name: term.teacher for name, term in self.terms.items()}
                self._fit(features, self.teacher.run(example, {}, wanted))
        finally:
            for module, mode in modes:
                module.training = mode
            self._taps.active = False
            self._taps.clear()

    def _fit(
        self,
        student: Mapping[str, Mapping[str, Features]],
        teacher: Mapping[str, Mapping[str, Features]],
    ) -> None:
        self.shape_table = ShapeTable(self.terms, student, teacher)
        self.connectors.add(self.shape_table)
        prepare_and_try(self.terms, self.connectors, self.shape_table, student, teacher)

    def _shares(
        self, values: Mapping[str, Mapping[str, Tensor]], task: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        if self.gradient_shares is None or not self.gradient_shares.due(self._count or 0):
            return {}
        losses = {name: torch.stack(list(v.values())).sum() for name, v in values.items()}
        losses |= total_loss(task)
        if not losses:
            return {}
        shares = self.gradient_shares.measure(self._student[0], losses)
        return {f"gradient_share_{name}": share for name, share in shares.items()}

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Distiller:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.teacher.apply(fn)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._count = None


def _selectors(terms: Mapping[str, Term], side: str) -> list[Selector]:
    return [s for term in terms.values() for found in getattr(term, side).values() for s in found]


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
