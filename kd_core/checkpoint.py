"""Loading weights without losing any: every key must fit, or a table says which do not."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checkpoint_file import CheckpointError, UnsafeCheckpointError, read_checkpoint

__all__ = [
    "CheckpointError",
    "LoadReport",
    "UnsafeCheckpointError",
    "load_weights",
    "read_checkpoint",
    "state_dict_of",
]

_LOGGER = logging.getLogger(__name__)
_LONGEST_TABLE = 20
Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did with each key.

    Attributes:
        missing: Key and shape of what the model has and the file lacks.
        unexpected: Key and shape of what the file has and the model lacks.
        mismatched: Key, shape in the file and shape in the model, where the two differ.
        loaded: Keys that were loaded.
    """

    missing: tuple[tuple[str, Shape], ...]
    unexpected: tuple[tuple[str, Shape], ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]
    loaded: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether file and model agree in every key and shape."""
        return not (self.missing or self.unexpected or self.mismatched)

    def table(self) -> str:
        """Everything that does not fit, one key a line, mis-shaped ones first."""
        rows = [(key, str(there), str(here)) for key, there, here in self.mismatched]
        rows += [(key, "-", str(shape)) for key, shape in self.missing]
        rows += [(key, str(shape), "-") for key, shape in self.unexpected]
        shown = [("key", "in the file", "in the model"), *rows[:_LONGEST_TABLE]]
        widths = [max(len(row[column]) for row in shown) for column in range(2)]
        lines = [f"  {key:{widths[0]}}  {there:{widths[1]}}  {here}" for key, there, here in shown]
        if len(rows) > _LONGEST_TABLE:
            lines.append(f"  ... and {len(rows) - _LONGEST_TABLE} more")
        return "\n".join(lines)


def state_dict_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Take the weights out of a checkpoint.

    They are looked for under "state_dict", then "model", then in the checkpoint itself. A leading
    "module." that all keys share (DataParallel) is removed.

    Raises:
        CheckpointError: If no mapping of names to tensors is found.
    """
    weights = checkpoint
    for name in ("state_dict", "model"):
        if isinstance(checkpoint.get(name), Mapping):
            weights = checkpoint[name]
            break
    odd = [key for key in weights if not _is_entry(key, weights[key])]
    if odd or not weights:
        raise CheckpointError(
            "The weights must be a dict of tensors, alone or under 'state_dict' or 'model', but "
            f"the entries {[str(key) for key in checkpoint][:8]} hold none"
            + (f" ({str(odd[0])!r} is a {type(weights[odd[0]]).__name__}). " if odd else ". ")
            + "Give the dict of weights itself."
        )
    prefix = "module." if all(key.startswith("module.") for key in weights) else ""
    found: OrderedDict[str, Any] = OrderedDict(
        (key[len(prefix) :], value) for key, value in weights.items()
    )
    versions = getattr(weights, "_metadata", None)
    if versions is not None:  # Modules use their version number to convert old keys.
        found._metadata = {  # type: ignore[attr-defined]
            key[len(prefix) :] if key.startswith(prefix) else key: value
            for key, value in versions.items()
            if key != prefix[:-1] or not prefix
        }
    return found


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
    are honoured. A missing `num_batches_tracked` (files older than torch 0.4.1) is accepted
    silently, and the model's own is kept.

    Args:
        model: Receives the weights; left as it was if this raises.
        state_dict: Names and tensors, as `state_dict_of` gives them.
        source: Where they come from, for messages.
        allow_partial: Whether to load what fits and warn about the rest, with the table that the
            error would show.
        ignore: Prefixes of keys that are left alone on both sides.

    Raises:
        CheckpointError: If any key is missing, unexpected or mis-shaped, or, with `allow_partial`,
            if nothing fits.
    """
    theirs = {key: value for key, value in state_dict.items() if not key.startswith(ignore)}
    ours = model.state_dict()
    versions = getattr(state_dict, "_metadata", None)
    kept = {key: ours[key] for key in ours if key.startswith(ignore) or _is_counter(key)}
    problem = _load_all_or_none(model, {**kept, **theirs}, versions)
    if not problem:
        return LoadReport((), (), (), tuple(theirs))
    report = _compare(ours, theirs, ignore)
    text = f"{source or 'The state dict'} does not fit {type(model).__name__}: "
    text += problem if report.complete else _summary(report)
    if report.complete or not report.loaded or not allow_partial:
        offer = "" if allow_partial else " allow_partial=True loads what fits."
        raise CheckpointError(f"{text}\n{_remedy(report, ours)}{offer}")
    fitting = {**ours, **{key: theirs[key] for key in report.loaded}}
    problem = _load_all_or_none(model, fitting, versions)
    if problem:
        raise CheckpointError(f"{text}\nThe model refuses even what fits: {problem}")
    _LOGGER.warning("%s\nOnly what fits was loaded; the model keeps its own for the rest.", text)
    return report


def _is_entry(key: object, value: object) -> bool:
    return isinstance(key, str) and (isinstance(value, Tensor) or key.endswith("_extra_state"))


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _shape(value: object) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _compare(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], ignore: tuple[str, ...]
) -> LoadReport:
    needed = {key for key in ours if not (key.startswith(ignore) or _is_counter(key))}
    both = [key for key in theirs if key in ours]
    shapes = {key: (_shape(theirs[key]), _shape(ours[key])) for key in both}
    return LoadReport(
        missing=tuple((k, _shape(ours[k])) for k in ours if k in needed and k not in theirs),
        unexpected=tuple((k, _shape(theirs[k])) for k in theirs if k not in ours),
        mismatched=tuple((k, *shapes[k]) for k in both if shapes[k][0] != shapes[k][1]),
        loaded=tuple(key for key in both if shapes[key][0] == shapes[key][1]),
    )


def _load_all_or_none(model: nn.Module, weights: Mapping[str, Any], versions: Any) -> str:
    """Load strictly; return why it failed, with the model as it was before, or ""."""
    state: OrderedDict[str, Any] = OrderedDict(weights)
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]
    before = {
        key: value.detach().clone()
        for key, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    try:
        model.load_state_dict(state, strict=True)
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


def _remedy(report: LoadReport, ours: Mapping[str, Any]) -> str:
    changed = {key for key, _, _ in report.mismatched}
    # A box regressor or mask head settles the count; a classifier may count the background.
    for key, there, here in sorted(report.mismatched, key=lambda row: "cls" in row[0]):
        if not there or not here or there[1:] != here[1:]:
            continue
        theirs_count = _classes(key, there[0], ours, changed)
        ours_count = _classes(key, here[0], ours, changed)
        if theirs_count and ours_count:
            sure = " if one row is the background" if _has_background(key) else ""
            return (
                f"The checkpoint has {theirs_count} classes, the model {ours_count}{sure} ({key}). "
                "Build the model with as many classes as the checkpoint."
            )
    return "Give the checkpoint that belongs to this model, or the model that belongs to it."


def _layer(key: str) -> tuple[str, str]:
    path = key.rpartition(".")[0]
    return path, re.sub(r"\.\d+$", "", path).rpartition(".")[2]


def _has_background(key: str) -> bool:
    return _layer(key)[1] in ("fc_cls", "cls_score")


def _classes(key: str, rows: int, ours: Mapping[str, Any], changed: set[str]) -> int | None:
    """Classes behind the rows of a head's weight or bias, where the head's name settles it."""
    path, layer = _layer(key)
    if layer == "fc_reg":  # Four box sides for each class; four rows serve any number.
        return rows // 4 if rows % 4 == 0 and rows > 4 else None
    if _has_background(key):
        return rows - 1
    if layer.endswith(("retina_cls", "conv_cls", "atss_cls")):  # A block of rows for each anchor.
        before, _, after = path.rpartition("_cls")
        sibling = f"{before}_reg{after}.bias"
        if sibling not in ours or sibling in changed:
            return None
        anchors = len(ours[sibling]) // 4
        return rows // anchors if anchors and rows % anchors == 0 else None
    return rows if layer in ("fc", "head", "classifier", "conv_logits", "gfl_cls") else None
