"""Loading of weights without losing any: every key must fit, or a table shows which do not."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checkpoint.finite import require_finite_weights
from kd_core.checkpoint.reader import CheckpointError, UnsafeCheckpointError, read_checkpoint
from kd_core.checkpoint.remedy import load_remedy
from kd_core.checkpoint.state_dict import state_dict_of, unwrapped
from kd_core.checkpoint.tied import with_tied_weights
from kd_core.table import format_table

__all__ = [
    "CheckpointError",
    "LoadReport",
    "UnsafeCheckpointError",
    "compare_weights",
    "load_weights",
    "read_checkpoint",
    "state_dict_of",
]

_LOGGER = logging.getLogger(__name__)
_LONGEST_TABLE = 20
Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """Report of `load_weights` on each key.

    Attributes:
        missing: Key and shape of each tensor that the model has and the file does not.
        unexpected: Key and shape of each tensor that the file has and the model does not.
        mismatched: Key, shape in the file and shape in the model, where the two differ.
        loaded: Keys that were loaded.
    """

    missing: tuple[tuple[str, Shape], ...]
    unexpected: tuple[tuple[str, Shape], ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]
    loaded: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Return whether file and model agree in every key and shape."""
        return not (self.missing or self.unexpected or self.mismatched)

    def table(self) -> str:
        """Return everything that does not fit, one key a line, mis-shaped ones first."""
        rows = [(key, str(there), str(here)) for key, there, here in self.mismatched]
        rows += [(key, "-", str(shape)) for key, shape in self.missing]
        rows += [(key, str(shape), "-") for key, shape in self.unexpected]
        table = format_table(("key", "in the file", "in the model"), rows[:_LONGEST_TABLE])
        lines = [f"  {line}" for line in table]
        if len(rows) > _LONGEST_TABLE:
            lines.append(f"  ... and {len(rows) - _LONGEST_TABLE} more")
        return "\n".join(lines)


def load_weights(
    model: nn.Module,
    state_dict: Mapping[str, Any],
    *,
    source: str = "",
    allow_partial: bool = False,
    ignore: tuple[str, ...] = ("distiller.",),
) -> LoadReport:
    """Load weights into a model, all of them or none.

    Values are converted to the model's dtype and device. The modules' own conversions of old keys
    are honored. A missing `num_batches_tracked` (files older than torch 0.4.1) is accepted
    silently, and the model's own is kept. Where everything fits once the marks of a wrapper
    ("_orig_mod." of torch.compile) or a prefix that all keys share are left out, they are, with a
    warning. A tensor that the model has under several names may be in the file under one.

    Args:
        model: Receives the weights; left as it was if this raises.
        state_dict: Names and tensors, as `state_dict_of` returns them.
        source: Where they come from, for messages.
        allow_partial: Whether to load what fits and warn about the rest, with the table that the
            error would show.
        ignore: Prefixes of keys that are left alone on both sides.

    Raises:
        CheckpointError: If any key is missing, unexpected or mis-shaped, or, with `allow_partial`,
            if nothing fits; if a weight is NaN or infinite.
    """
    source = source or "The state dict"
    ours = model.state_dict()
    kept = {key: ours[key] for key in ours if key.startswith(ignore) or _is_counter(key)}
    tried: list[_Attempt] = []
    for left_out, weights in [("", state_dict), *unwrapped(state_dict)]:
        filled = with_tied_weights(model, weights)
        theirs = {key: value for key, value in filled.items() if not key.startswith(ignore)}
        versions = getattr(weights, "_metadata", None)
        problem = _load_all_or_none(model, kept, theirs, versions, source)
        if not problem:
            _say_left_out(source, left_out)
            return LoadReport((), (), (), tuple(theirs))
        report = compare_weights(ours, theirs, ignore)
        tried.append(_Attempt(left_out, theirs, versions, problem, report))
    best = max(tried, key=lambda attempt: len(attempt.report.loaded))  # the first of equals
    report = best.report
    text = f"{source} does not fit {type(model).__name__}: "
    text += best.problem if report.complete else _summary(report)
    if report.complete or not report.loaded or not allow_partial:
        offer = "" if allow_partial else " allow_partial=True loads what fits."
        remedy = load_remedy(report.mismatched, ours, tried[0].weights)
        raise CheckpointError(f"{text}\n{remedy}{offer}")
    fitting = {key: best.weights[key] for key in report.loaded}
    problem = _load_all_or_none(model, ours, fitting, best.versions, source)
    if problem:
        raise CheckpointError(f"{text}\nThe model refuses even what fits: {problem}")
    _say_left_out(source, best.left_out)
    _LOGGER.warning("%s\nOnly what fits was loaded; the model keeps its own for the rest.", text)
    return report


def compare_weights(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], ignore: tuple[str, ...]
) -> LoadReport:
    """Compare the keys and shapes of a model's state dict and a file's.

    Args:
        ours: The model's.
        theirs: The file's.
        ignore: Prefixes of keys that may be missing.
    """
    needed = {key for key in ours if not (key.startswith(ignore) or _is_counter(key))}
    both = [key for key in theirs if key in ours]
    shapes = {key: (_shape(theirs[key]), _shape(ours[key])) for key in both}
    return LoadReport(
        missing=tuple((k, _shape(ours[k])) for k in ours if k in needed and k not in theirs),
        unexpected=tuple((k, _shape(theirs[k])) for k in theirs if k not in ours),
        mismatched=tuple((k, *shapes[k]) for k in both if shapes[k][0] != shapes[k][1]),
        loaded=tuple(key for key in both if shapes[key][0] == shapes[key][1]),
    )


@dataclass(frozen=True)
class _Attempt:
    """Weights under names that did not fit."""

    left_out: str
    weights: dict[str, Any]
    versions: Any
    problem: str
    report: LoadReport


def _say_left_out(source: str, left_out: str) -> None:
    if left_out:
        _LOGGER.warning("%s: %s is left out of the names of its keys.", source, left_out)


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _shape(value: object) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _load_all_or_none(
    model: nn.Module,
    own: Mapping[str, Any],
    given: Mapping[str, Any],
    versions: Any,
    source: str,
) -> str:
    """Load strictly; return why it failed, with the model as it was before, or ""."""
    state: OrderedDict[str, Any] = OrderedDict({**own, **given})
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]
    before = {
        key: value.detach().clone()
        for key, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    try:
        model.load_state_dict(state, strict=True)
        require_finite_weights(model, given, source)
    except Exception as error:  # torch has by now copied whatever fitted.
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if key in before:
                    value.copy_(before[key])
        if not isinstance(error, RuntimeError):
            raise
        return str(error)
    return ""


def _summary(report: LoadReport) -> str:
    counts = (
        f"{len(report.mismatched)} mis-shaped, {len(report.missing)} missing, "
        f"{len(report.unexpected)} unexpected; {len(report.loaded)} fit."
    )
    return f"{counts}\n{report.table()}"
