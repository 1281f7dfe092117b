"""Base class of distillers: attached to a student, they add to its losses in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kd_core.layers import FeatureHooks, LayerPath
from kd_core.teacher import Forward, FrozenTeacher, named_arguments, require_apart

_CHILD = "distiller"  # of the student, where the distiller lies


@dataclass(frozen=True)
class Call:
    """One training forward of a student.

    Attributes:
        student: The student.
        args: Positional arguments of its forward.
        kwargs: Keyword arguments of its forward.
        task: The student's own losses in the dict that it returned; empty if it returned none.
        extra_inputs: Inputs that were given to :meth:`BaseDistiller.losses`.
        hooks: The outputs of the student's layers.
        iteration: Number of such calls before.
    """

    student: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    task: Mapping[str, Any]
    extra_inputs: Mapping[str, Any]
    hooks: FeatureHooks
    iteration: int

    def named(self) -> dict[str, Any]:
        """Return all arguments, by the parameter names of the student's forward."""
        return named_arguments(self.student, self.args, self.kwargs) | dict(self.extra_inputs)


class BaseDistiller(nn.Module, ABC):
    """Base class of distillers: a child of the student, ``distiller``, that adds to its losses.

    :meth:`pre_forward` runs before every training forward of the student, :meth:`post_forward`
    after it; the losses of the latter are put into the dict that the student returns. A student
    that returns something else (a plain network) gets them from :meth:`losses`. In eval mode and
    without gradients nothing happens. The iteration and all parameters of the distiller are saved
    under ``distiller.``, the teachers are not. A student may have several distillers.

    Args:
        teachers: Name to frozen network; they follow the student's ``.to``, ``.half`` and so on.
    """

    iteration: Tensor

    def __init__(self, teachers: Mapping[str, FrozenTeacher] | None = None) -> None:
        super().__init__()
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))
        self.teachers: dict[str, FrozenTeacher] = dict(teachers or {})
        self.name = _CHILD  # of the student's child, if attached
        self.added: set[str] = set()  # names that were put into the student's last losses
        self._count: int | None = None  # the iteration without a wait for the GPU
        self._student: tuple[nn.Module, ...] = ()  # in a tuple, so that it is not a child
        self._hooks: FeatureHooks | None = None
        self._handles: list[RemovableHandle] = []
        self._call: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    @abstractmethod
    def student_layers(self, student: nn.Module) -> Iterable[LayerPath]:
        """Return the student's layers that :meth:`post_forward` reads."""

    @abstractmethod
    def post_forward(self, call: Call) -> dict[str, Tensor]:
        """Return the losses to add: names with "loss" are summed, others are statistics.

        A name that the student's own losses have replaces theirs.
        """

    def pre_forward(
        self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Prepare for a training forward of the student; nothing by default.

        A frozen teacher runs here: its memory is free before the student keeps its activations.
        """

    def dry_run(
        self, student: nn.Module, example: Sequence[Any] | None, forward: Forward | None
    ) -> None:
        """Check the layers, and make modules that need shapes of features; nothing by default."""

    def is_active(self) -> bool:
        """Return whether the present iteration needs any of the student's layers."""
        return True

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return all other networks: name for messages, module, and whether it is trained."""
        return [(name, teacher.model, False) for name, teacher in self.teachers.items()]

    def idle_loss(self, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
        """Return a loss of 0 that touches parameters, in a distributed run; nothing elsewhere.

        DDP waits for the gradient of every parameter, also where a weight is 0.

        Args:
            parameters: Parameters that may get no gradient.
        """
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return {}
        sums = [parameter.sum() for parameter in parameters]
        return {self.own("loss_idle_connectors"): 0.0 * torch.stack(sums).sum()} if sums else {}

    def own(self, name: str) -> str:
        """Return this distiller's version of a name that all log: ``distiller_b`` appends _b."""
        return name + self.name.removeprefix(_CHILD)

    def start_iteration(self) -> int:
        """Return the first iteration at which all its losses count; 0 by default."""
        return 0

    def set_run_length(self, epoch_length: int, total: int | None = None) -> None:
        """Let schedules in epochs, or in shares of the run, know how long it is.

        Args:
            epoch_length: Iterations of an epoch.
            total: Iterations of the whole run; needed only for shares.
        """

    def attach(
        self,
        student: nn.Module,
        example: Sequence[Any] | None = None,
        forward: Forward | None = None,
        name: str = _CHILD,
    ) -> nn.Module:
        """Hook a student's layers, and become its child, on its device.

        Args:
            student: The model to train.
            example: Arguments of a dry run that finds the shapes, checks every loss on them
                and makes the connectors. Without it, losses that need equal channels must get
                them from the layers as they are.
            forward: How to run the student in the dry run, ``forward(student, *example)``; the
                default calls it.
            name: Name of the child: ``distiller``, or for one more distiller ``distiller_<text>``.

        Returns:
            The student.

        Raises:
            ValueError: If a layer does not exist, the shapes do not fit a loss, two networks share
                a layer, the name is wrong or taken, or the distiller is attached already.
        """
        if not name.isidentifier() or (name != _CHILD and not name.startswith(f"{_CHILD}_")):
            raise ValueError(f"name must be '{_CHILD}' or '{_CHILD}_<text>', but it is {name!r}.")
        if self._student or hasattr(student, name):
            raise ValueError(
                f"the distiller must be free and the student must have no child {name!r}, but one "
                "of them is attached already. Call detach() first, or give one more distiller "
                f"another name, such as name='{_CHILD}_2'."
            )
        self._hooks = FeatureHooks(student, self.student_layers(student), "student")
        try:
            others = [(name, network) for name, network, _ in self.networks()]
            require_apart([("the student", student), *others])
            self.dry_run(student, example, forward)
        except Exception:
            self._hooks.remove()
            raise
        self._handles = [
            student.register_forward_pre_hook(self._start, with_kwargs=True),
            student.register_forward_hook(self._finish, with_kwargs=True),
        ]
        self._student, self.name = (student,), name
        where = next((p.device for p in student.parameters()), self.iteration.device)
        self.iteration = self.iteration.to(where)  # DDP wants all buffers in one place
        setattr(student, name, self)
        return student

    def detach(self) -> nn.Module:
        """Remove everything; the student is as it was.

        Raises:
            ValueError: If nothing is attached.
        """
        if not self._student or self._hooks is None:
            raise ValueError("the distiller is not attached to a student.")
        for handle in self._handles:
            handle.remove()
        self._hooks.remove()
        (student,) = self._student
        delattr(student, self.name)
        self._student, self._handles, self._hooks, self._call = (), [], None, None
        self.added = set()
        return student

    def forward(self, features: Any) -> Any:
        """Return the input: a Sequential student runs its children, and this is one of them."""
        return features

    def losses(self, **extra_inputs: Any) -> dict[str, Tensor]:
        """Return the losses of the student's last training forward, once.

        For students that return no dict of losses: add the sum of these to your own loss.

        Args:
            extra_inputs: Inputs that losses need besides the layers and that the student's forward
                does not take, such as ``labels=labels``.

        Raises:
            RuntimeError: If the student has not run in training mode since the last call.
            ValueError: If a loss needs an input that neither this call nor the forward has.
        """
        if self._call is None:
            raise RuntimeError("losses() needs a forward of the student in training mode first.")
        args, kwargs = self._call
        self._call = None
        return self._step(args, kwargs, {}, extra_inputs)

    def current_iteration(self) -> int:
        """Return the number of training forwards so far."""
        if self._count is None:
            self._count = int(self.iteration)
        return self._count

    def set_iteration(self, iteration: int) -> None:
        """Continue as if there had been this many training forwards."""
        self.iteration.fill_(iteration)
        self._count = iteration

    def _start(self, student: nn.Module, args: Any, kwargs: Any) -> None:
        assert self._hooks is not None
        self._hooks.clear()
        self._call = None
        self._hooks.active = bool(student.training and torch.is_grad_enabled() and self.is_active())
        if self._hooks.active:
            self.pre_forward(student, args, kwargs)
            self._hooks.register(student)

    def _finish(self, student: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        assert self._hooks is not None
        self._hooks.active = False
        if not (student.training and torch.is_grad_enabled()):
            return
        if isinstance(output, dict) and any("loss" in str(key) for key in output):
            task = {key: output[key] for key in output if key not in self._added_by_others()}
            output.update(self._step(args, kwargs, task, {}))
        else:
            self._call = (args, kwargs)

    def _step(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        task: Mapping[str, Any],
        extra_inputs: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        hooks = self._hooks
        assert hooks is not None
        count = self.current_iteration()
        try:
            call = Call(self._student[0], args, kwargs, task, extra_inputs, hooks, count)
            result = self.post_forward(call)
        finally:
            hooks.clear()
        self.added = set(result) - set(task)
        if twice := self.added & self._added_by_others():
            raise ValueError(
                f"every loss must have its own name, but {self.name} adds {sorted(twice)}, which "
                "another distiller of the student adds too. Rename the terms of one of them."
            )
        self.iteration += 1
        self._count = count + 1
        return result

    def _added_by_others(self) -> set[str]:
        others = attached_distillers(self._student[0]).values()
        return {name for other in others if other is not self for name in other.added}

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> BaseDistiller:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for teacher in self.teachers.values():
            teacher.apply(fn)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._count = None


def attached_distillers(student: nn.Module) -> dict[str, BaseDistiller]:
    """Return the distillers of a student, by name."""
    found = student.named_children()
    return {name: child for name, child in found if isinstance(child, BaseDistiller)}
