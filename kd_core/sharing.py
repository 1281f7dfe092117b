"""Networks that must have nothing in common: what is frozen and what is trained."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from torch import Tensor, nn
from torch.nn.parameter import is_lazy


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


def _parts(network: nn.Module) -> Iterator[tuple[Hashable, str]]:
    """What must not be shared and its path: modules, from the outside in, then tensors."""
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
