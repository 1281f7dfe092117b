"""Loading of a part of a network, such as a backbone, from a file that holds more than it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from kd_core.checkpoint.load import LoadReport, compare_weights, load_weights
from kd_core.checkpoint.state_dict import best_named


def load_part(
    module: nn.Module,
    state_dict: Mapping[str, Any],
    *,
    source: str = "",
    allow_partial: bool = False,
    optional: tuple[str, ...] = (),
    ignore: tuple[str, ...] = ("distiller.",),
) -> LoadReport:
    """Load a module from weights that may hold more than it has.

    Published weights of a classifier start a detector's backbone: their ``fc.weight`` has no place
    there. A layer that a detector adds, such as the offsets of a deformable convolution or the norm
    of an output, is not in them, but starts with all 0 or all 1 and so changes nothing. Both are
    accepted. Any other missing key, another shape, or a block that the module's stage does not
    have, is an error.

    Args:
        module: Receives the weights; left as it was if this raises.
        state_dict: Names and tensors, as `state_dict_of` returns them.
        source: Where they come from, for messages.
        allow_partial: Whether to load what fits and warn about the rest.
        optional: Prefixes of keys that may be missing.
        ignore: Prefixes of keys that are left alone on both sides.

    Returns:
        The keys that were loaded, and those left out on both sides.

    Raises:
        CheckpointError: If the weights do not fill the module, or one is NaN or infinite.
    """
    ours = module.state_dict(keep_vars=True)
    weights = best_named(state_dict, ours)
    given: OrderedDict[str, Any] = OrderedDict(weights)
    if any(key in ours for key in weights):  # otherwise the error lists the entries
        names = {name for name, _ in module.named_modules()}
        given = OrderedDict((k, v) for k, v in weights.items() if _concerns(k, ours, names))
        own = {key: value for key, value in ours.items() if key not in weights}
        given |= {k: v for k, v in own.items() if k.startswith(optional) or is_neutral(v)}
    if (versions := getattr(weights, "_metadata", None)) is not None:
        given._metadata = versions  # type: ignore[attr-defined]
    load_weights(module, given, source=source, allow_partial=allow_partial, ignore=ignore)
    return compare_weights(ours, weights, ignore)


def _concerns(key: str, ours: Mapping[str, Any], names: set[str]) -> bool:
    """Return whether a key is the module's, or of a block that one of its stages lacks."""
    is_extra = key.split(".")[0] not in names or key.rpartition(".")[0] in names
    return key in ours or not is_extra


def is_neutral(value: object) -> bool:
    """Return whether a value of the module changes nothing as it is: all 0, all 1, or a table."""
    if not isinstance(value, Tensor) or value.is_meta:
        return False
    if not isinstance(value, nn.Parameter):  # positions and the like, but not statistics
        return not value.is_floating_point()
    return bool((value == 0).all()) or bool((value == 1).all())
