"""Frozen teachers: they cannot be trained, saved or wrapped by accident, nor share layers."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kd_core.layers import FeatureHooks, LayerPath, find_layer, levels_of

Forward = Callable[..., Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class FrozenTeacher:
    """A frozen model, kept outside the module tree of whoever holds it.

    It is no ``nn.Module``, so it is never in ``state_dict``, ``parameters()``, an optimizer,
    DDP's buckets or a SyncBN conversion, and a deep copy of the student (EMA) shares it. It is
    in full eval mode before each run, but for its ``live_norms``, and runs under ``no_grad``.

    Args:
        model: The trained teacher. Its parameters no longer require gradients.
        forward: How to run it: called with the model and the student's own arguments. The
            default calls the model with them.
        precision: Autocast dtype of the teacher's forward; ``None`` follows the student.
        follows: Name to a layer of the student. A teacher that has any runs after the student, and
            its forward gets ``followed``: what the layer gave, by the same name.

    Attributes:
        live_norms: Batch norms that run in training mode, by the statistics of each batch; only an
            earlier self of a student has any. See :func:`kd_core.following.live_norms`.

    Example:
        >>> teacher = FrozenTeacher(nn.Sequential(nn.Linear(4, 2)))
        >>> any(p.requires_grad for p in teacher.model.parameters())
        False
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward | None = None,
        precision: torch.dtype | None = None,
        follows: Mapping[str, LayerPath] | None = None,
    ) -> None:
        self.model = model.requires_grad_(False)
        model.eval()  # some models' train() returns nothing
        self.precision = precision
        self.follows = dict(follows or {})
        self.live_norms: Sequence[nn.Module] = ()
        self._forward = forward

    @classmethod
    def of(cls, model: nn.Module | FrozenTeacher) -> FrozenTeacher:
        """Return a model as a frozen teacher; one that is frozen already as it is."""
        return model if isinstance(model, FrozenTeacher) else cls(model)

    def check(self, layers: Iterable[LayerPath], whose: str = "teacher") -> None:
        """Require that the teacher has some layers.

        Args:
            layers: The layers.
            whose: What messages call the teacher.

        Raises:
            ValueError: If one is not a layer of the teacher.
        """
        for layer in layers:
            find_layer(self.model, layer, whose)

    def bind(self, losses: Iterable[nn.Module]) -> None:
        """Show itself to those losses that read modules of a teacher.

        Raises:
            ValueError: If one finds no such module.
        """
        for loss in losses:
            bind: Any = getattr(loss, "bind_teacher", None)
            if bind is not None:
                bind(self.model)

    def run(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Mapping[str, Mapping[str, Sequence[LayerPath]]],
        whose: str = "teacher",
    ) -> dict[str, dict[str, Tensor | list[Tensor]]]:
        """Run on the student's arguments and return the wanted features.

        The hooks stay for this run only, so several distillers may share a teacher.

        Args:
            args: Positional arguments of the student's forward.
            kwargs: Its keyword arguments.
            wanted: Term, then role, to layers.
            whose: What messages call the teacher.

        Returns:
            Term, then role, to a feature map or a list of them.

        Raises:
            ValueError: If a layer does not exist or did not run.
        """
        _set_eval(self.model, self.live_norms)
        layers = [path for roles in wanted.values() for of in roles.values() for path in of]
        hooks = FeatureHooks(self.model, layers, whose)
        hooks.active = True
        try:
            with torch.no_grad(), self._autocast():
                if self._forward is None:
                    self.model(*args, **kwargs)
                else:
                    self._forward(self.model, *args, **kwargs)
            return hooks.read_all(wanted)
        finally:
            hooks.remove()

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move or cast as the student does (``.to``, ``.half``, ``.double``)."""
        self.model._apply(function)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        """Return the teacher itself: a copy of the student shares it."""
        return self

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision is None:
            return contextlib.nullcontext()
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, dtype=self.precision)


def read_layers(
    model: nn.Module, layers: Sequence[LayerPath], *args: Any, whose: str
) -> list[Tensor]:
    """Run a model on arguments and return the outputs of some layers, as :class:`FeatureHooks`.

    Raises:
        ValueError: If a layer does not exist or did not run; ``whose`` says of which model.
    """
    hooks = FeatureHooks(model, layers, whose)
    hooks.active = True
    try:
        model(*args)
        found = hooks.read(layers)
    finally:
        hooks.remove()
    return levels_of(found)


@contextlib.contextmanager
def eval_mode(model: nn.Module, live_norms: Sequence[nn.Module] = ()) -> Iterator[None]:
    """Put a model into eval mode for a while; each of its modules gets its own mode back.

    Args:
        model: The model.
        live_norms: Its batch norms that go by the statistics of each batch all the same.
    """
    modes = [(module, module.training) for module in model.modules()]
    _set_eval(model, live_norms)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def require_apart(networks: Sequence[tuple[str, nn.Module]]) -> None:
    """Require that networks share no layer with a state, no weight and no memory of weights.

    A teacher that shares a layer with its student freezes it, and moves with it. Layers without
    state, such as an activation that is the default of an argument, may be shared, but no dropout:
    the teacher is always in eval mode.

    Args:
        networks: Name, such as "the student", and module of each.

    Raises:
        ValueError: If two share something; names the first layer.
    """
    seen: dict[Hashable, tuple[str, str]] = {}
    for name, network in networks:
        own = dict(_parts(network))
        for part, path in own.items():
            if part in seen:
                other, place = seen[part]
                raise ValueError(
                    f"{other} and {name} must not share layers, but {path or 'the whole model'!r} "
                    f"of {name} is {place or 'the whole model'!r} of {other}: a teacher is "
                    "frozen and in eval mode, and would freeze the student too. Build it on its "
                    "own, or give it copy.deepcopy of the model."
                )
        seen |= {part: (name, path) for part, path in own.items()}


def _set_eval(model: nn.Module, live_norms: Sequence[nn.Module]) -> None:
    """Put a model into eval mode, but for some of its batch norms."""
    model.eval()
    for norm in live_norms:
        norm.training = True


def _parts(network: nn.Module) -> Iterator[tuple[Hashable, str]]:
    """Yield parts that must not be shared, and their paths: modules outside in, tensors."""
    for path, module in network.named_modules():
        if _has_state(module):
            yield id(module), path
    for named in (network.named_parameters(), network.named_buffers()):
        for path, tensor in named:
            if (address := _address(tensor)) is not None:
                yield address, path


def _has_state(module: nn.Module) -> bool:
    if "Drop" in type(module).__name__:
        return True
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _address(tensor: Tensor) -> Hashable | None:
    if is_lazy(tensor) or tensor.numel() == 0 or tensor.is_meta or tensor.data_ptr() == 0:
        return None
    return str(tensor.device), tensor.data_ptr()


def named_arguments(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a forward, by the parameter names of the model's ``forward``.

    Args:
        model: The model that was called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        Name to argument; those in ``*args`` have no names and are left out.

    Example:
        >>> named_arguments(nn.ReLU(), ["images"], {})
        {'input': 'images'}
    """
    parameters = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in _POSITIONAL]
    return dict(zip(names, args, strict=False)) | dict(kwargs)
