"""What listens to a student and adds to its losses in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kd_core.beside import named_arguments
from kd_core.layers import Selector, Taps


@dataclass(frozen=True)
class Call:
    """One training forward of a student.

    Attributes:
        student: The student.
        args: Positional arguments of its forward.
        kwargs: Keyword arguments of its forward.
        task: The dict of losses that it returned; empty if it returned something else.
        beside: What was given to :meth:`Attachment.losses`.
        taps: The outputs of the layers that the attachment listens to.
        iteration: How many such calls there were before.
    """

    student: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    task: Mapping[str, Any]
    beside: Mapping[str, Any]
    taps: Taps
    iteration: int

    def named(self) -> dict[str, Any]:
        """Return all arguments by the names that the student's forward has for them."""
        return named_arguments(self.student, self.args, self.kwargs) | dict(self.beside)


class Attachment(nn.Module, ABC):
    """Becomes a student's child ``distiller`` and adds losses to those that it returns.

    After every training forward :meth:`compute` is asked for losses, which are put into the dict
    that the student returns. A student that returns something else (a plain network) gets them
    from :meth:`losses`. In eval mode and without gradients nothing happens.

    The number of the iteration and all parameters of the attachment are saved under
    ``distiller.``; :meth:`detach` takes everything away.
    """

    iteration: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))
        self._count: int | None = None  # the iteration without a wait for the GPU
        self._student: tuple[nn.Module, ...] = ()  # in a tuple, so that it is no child
        self._taps: Taps | None = None
        self._handles: list[RemovableHandle] = []
        self._call: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    @abstractmethod
    def compute(self, call: Call) -> dict[str, Tensor]:
        """Return what is to be added: names with "loss" are summed, others are statistics.

        A name that the student's own losses have replaces theirs.
        """

    def before(self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Prepare for a training forward of the student; nothing by default.

        What runs here, such as a frozen teacher, has given its memory back before the student
        keeps its activations.
        """

    def is_idle(self) -> bool:
        """Tell whether the present iteration needs none of the student's layers."""
        return False

    def detach(self) -> nn.Module:
        """Take everything away; the student is as it was.

        Raises:
            ValueError: If nothing is attached.
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
        """Return what the student's last training forward adds, once.

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

    def count(self) -> int:
        """Return how many training forwards there were."""
        if self._count is None:
            self._count = int(self.iteration)
        return self._count

    def begins(self) -> int:
        """Return the iteration from which all its losses count; 0 by default."""
        return 0

    def go_to(self, iteration: int) -> None:
        """Go on as if there had been so many training forwards."""
        self.iteration.fill_(iteration)
        self._count = iteration

    def tap(self, student: nn.Module, selectors: Iterable[Selector]) -> Taps:
        """Begin to attach: look up the layers of a student that is free.

        Raises:
            ValueError: If a layer does not exist, or student or attachment are attached already.
        """
        if self._student or hasattr(student, "distiller"):
            raise ValueError(
                "the distiller must be free and the student must have no child 'distiller', but "
                "one of them is attached already. Call detach() first."
            )
        self._taps = Taps(student, selectors, "student")
        return self._taps

    def listen(self, student: nn.Module) -> None:
        """End to attach: hook the student and become its child, on its device."""
        self._handles = [
            student.register_forward_pre_hook(self._start, with_kwargs=True),
            student.register_forward_hook(self._finish, with_kwargs=True),
        ]
        self._student = (student,)
        where = next((p.device for p in student.parameters()), self.iteration.device)
        self.iteration = self.iteration.to(where)  # DDP wants all buffers in one place
        student.distiller = self

    def _start(self, student: nn.Module, args: Any, kwargs: Any) -> None:
        assert self._taps is not None
        self._taps.clear()
        self._call = None
        self._taps.active = bool(
            student.training and torch.is_grad_enabled() and not self.is_idle()
        )
        if self._taps.active:
            self.before(student, args, kwargs)
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
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        task: Mapping[str, Any],
        beside: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        taps = self._taps
        assert taps is not None
        count = self.count()
        try:
            result = self.compute(Call(self._student[0], args, kwargs, task, beside, taps, count))
        finally:
            taps.clear()
        self.iteration += 1
        self._count = count + 1
        return result

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._count = None


def idle_loss(parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return a loss of 0 that touches parameters, in a distributed run; nothing elsewhere.

    DDP waits for the gradient of every parameter, also where a weight is 0.

    Args:
        parameters: Those that may get no gradient.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return {}
    sums = [parameter.sum() for parameter in parameters]
    return {"loss_idle_connectors": 0.0 * torch.stack(sums).sum()} if sums else {}


def read_layers(
    model: nn.Module, selectors: Sequence[Selector], *args: Any, owner: str
) -> list[Tensor]:
    """Run a model and return the outputs of some of its layers.

    Args:
        model: The model.
        selectors: Its layers; each picks one tensor.
        args: Arguments of its forward.
        owner: Whose model it is, for messages.

    Returns:
        One tensor for each selector.

    Raises:
        ValueError: If a layer does not exist or did not run.
    """
    taps = Taps(model, selectors, owner)
    taps.active = True
    try:
        model(*args)
        found = taps.read(selectors)
    finally:
        taps.remove()
    return found if isinstance(found, list) else [found]
