"""State dict of a checkpoint: the entry that holds the weights, and its keys."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from kd_core.checkpoint.reader import CheckpointError

_ENTRIES = ("state_dict", "model")  # entries that may hold weights, in the order of the search
_COUNTERS = ("n_averaged", "steps")  # of torch's AveragedModel, of mmengine's
_PARALLEL = "module."  # DataParallel, DistributedDataParallel, AveragedModel
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_SHOWN = 8


def state_dict_of(
    checkpoint: Mapping[str, Any], key: str | None = None, prefix: str | None = None
) -> dict[str, Any]:
    """Return the weights in a checkpoint.

    They are looked for under "state_dict", then "model", then in the checkpoint itself. A leading
    "module." that all keys share (DataParallel, AveragedModel) is removed.

    Args:
        checkpoint: Content of a file.
        key: Entry to take instead, such as "model_ema" of torchvision's training, "state_dict_ema"
            of timm's; a dot goes one entry deeper.
        prefix: Take only the keys that begin with this, without it, such as "backbone." for a
            detector's backbone.

    Raises:
        CheckpointError: If no mapping of names to tensors is found, there is no such entry, or no
            key has the prefix.
    """
    weights = _entry(checkpoint, key)
    odd = [name for name in weights if not _is_weight(name, weights[name])]
    if odd or not weights:
        raise CheckpointError(_no_weights(checkpoint, weights, odd, key))
    versions = getattr(weights, "_metadata", None)
    kept = {name: value for name, value in weights.items() if name not in _COUNTERS}
    shared = all(name.startswith(_PARALLEL) for name in kept) and bool(kept)
    found: OrderedDict[str, Any] = OrderedDict(kept if shared else weights)
    if versions is not None:  # Modules use their version number to convert old keys.
        found._metadata = versions  # type: ignore[attr-defined]
    if shared:
        found = _behind(found, _PARALLEL)
    return found if prefix is None else _selected(found, prefix)


def unwrapped(weights: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield weights without the parts of their keys that wrappers add.

    First without the marks of torch.compile and the like, anywhere in a name. Then also without
    the first part of the names as long as all keys share it: "model.", "module.model.", ...

    Args:
        weights: Names and tensors.

    Yields:
        The part that was left out, and the weights.
    """
    current, left_out = _without_marks(weights)
    if left_out:
        yield left_out, current
    prefix = ""
    while (first := _shared_part(current)) is not None:
        prefix += first
        current = _behind(current, first)
        yield " and ".join(filter(None, [left_out, repr(prefix)])), current


def best_named(weights: Mapping[str, Any], ours: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return weights under the names that match most of a model's.

    Args:
        weights: Names and tensors; see :func:`unwrapped` for the names that are tried.
        ours: The model's state dict.
    """
    candidates = [weights, *(found for _, found in unwrapped(weights))]
    return max(candidates, key=lambda found: sum(key in ours for key in found))


def _entry(checkpoint: Mapping[str, Any], key: str | None) -> Mapping[str, Any]:
    if key is None:
        for name in _ENTRIES:
            if isinstance(checkpoint.get(name), Mapping):
                return checkpoint[name]  # type: ignore[no-any-return]
        return checkpoint
    found: Any = checkpoint
    for part in [key] if key in checkpoint else key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping):
        return found
    raise CheckpointError(
        f"key must name an entry of the checkpoint that holds weights, but it is {key!r}. "
        f"{_where(checkpoint) or f'Its entries are {_names(checkpoint)}.'}"
    )


def _no_weights(
    checkpoint: Mapping[str, Any], weights: Mapping[str, Any], odd: list[Any], key: str | None
) -> str:
    place = "alone or under 'state_dict' or 'model'" if key is None else f"under {key!r}"
    return (
        f"The weights must be a dict of tensors, {place}, but the entries {_names(checkpoint)} "
        "hold none"
        + (f" ({str(odd[0])!r} is a {type(weights[odd[0]]).__name__}). " if odd else ". ")
        + (_where(checkpoint) or "Give the dict of weights itself.")
    )


def _where(checkpoint: Mapping[str, Any]) -> str:
    """Return a sentence with the other entries that hold weights."""
    names = [
        name
        for name, value in checkpoint.items()
        if isinstance(value, Mapping) and value and all(_is_weight(k, v) for k, v in value.items())
    ]
    if not names:
        return ""
    return "Name the entry: " + " or ".join(f"key={str(name)!r}" for name in names[:_SHOWN]) + "."


def _names(checkpoint: Iterable[Any]) -> list[str]:
    return [str(name) for name in checkpoint][:_SHOWN]


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and (isinstance(value, Tensor) or name.endswith("_extra_state"))


def _selected(weights: Mapping[str, Any], prefix: str) -> OrderedDict[str, Any]:
    start = prefix if prefix.endswith(".") or not prefix else f"{prefix}."
    found = _behind(weights, start)
    if found:
        return found
    parts = list(dict.fromkeys(f"{name.split('.')[0]}." for name in weights))
    near = difflib.get_close_matches(start, parts, n=1)
    raise CheckpointError(
        f"prefix must be what keys of the checkpoint begin with, but none begins with {start!r}. "
        f"They begin with {', '.join((near or parts)[:_SHOWN])}."
    )


def _behind(weights: Mapping[str, Any], prefix: str) -> OrderedDict[str, Any]:
    """Keep the keys that begin with a prefix, without it; the modules' versions follow."""
    found: OrderedDict[str, Any] = OrderedDict(
        (name[len(prefix) :], value) for name, value in weights.items() if name.startswith(prefix)
    )
    versions = getattr(weights, "_metadata", None)
    if versions is not None:
        found._metadata = {  # type: ignore[attr-defined]
            name[len(prefix) :]: value
            for name, value in versions.items()
            if f"{name}.".startswith(prefix)
        }
    return found


def _without_marks(weights: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    marks = [mark for mark in _WRAPPERS if any(mark in f".{name}" for name in weights)]
    if not marks:
        return weights, ""
    found: OrderedDict[str, Any] = OrderedDict(
        (_without(name, marks), value) for name, value in weights.items()
    )
    versions = getattr(weights, "_metadata", None)
    if versions is not None:
        found._metadata = {  # type: ignore[attr-defined]
            _without(f"{name}.", marks)[:-1]: value for name, value in versions.items()
        }
    return found, " and ".join(repr(mark) for mark in marks)


def _without(name: str, marks: list[str]) -> str:
    for mark in marks:
        name = name.replace(mark, "")
    return name


def _shared_part(weights: Mapping[str, Any]) -> str | None:
    """Return the first part of the names with its dot, if all share it and more follows."""
    firsts = {name.partition(".")[0] if "." in name else None for name in weights}
    first = firsts.pop() if len(firsts) == 1 else None
    return None if first is None else f"{first}."
