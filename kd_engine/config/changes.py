"""Changes of a resumed run's config: it is compared with the one in the checkpoint."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_engine.config.keys import listed

_ABSENT = "(absent)"
_LONGEST_VALUE = 70
_LONGEST_LIST = 20

# Settings that decide a run; the rest are variables, tests and logs.
DECIDES = (
    "model", "data_preprocessor", "train_dataloader", "val_dataloader", "val_evaluator",
    "train_cfg", "val_cfg", "optim_wrapper", "param_scheduler", "auto_scale_lr", "custom_hooks",
    "randomness", "activation_checkpointing",
)  # fmt: skip
_SILENT = (
    "*_dataloader.num_workers", "*_dataloader.persistent_workers", "*_dataloader.pin_memory",
    "*_dataloader.prefetch_factor", "*_dataloader.timeout", "*_dataloader.multiprocessing_context",
    "*_dataloader.disable_subprocess_warning", "val_dataloader.batch_size", "*.backend_args",
    "model*.init_cfg*", "model*.pretrained*", "model.dry_run_size",
    "model.inherit*",
)  # fmt: skip
_HELD = "  (no effect: the checkpoint's value holds)"
_LONGER = "  (schedules without an end of their own still end at the old one)"
_EFFECTS = (
    ("optim_wrapper.optimizer.*", _HELD), ("optim_wrapper.paramwise_cfg*", _HELD),
    ("param_scheduler*", _HELD), ("randomness.seed", _HELD),
    ("train_cfg.max_epochs", _LONGER), ("train_cfg.max_iters", _LONGER),
)  # fmt: skip
_REFUSED = ("optim_wrapper.optimizer.type", "optim_wrapper.constructor")


@dataclass(frozen=True)
class Change:
    """One setting that differs.

    Attributes:
        path: Its dotted name.
        before: Value in the checkpoint, as text.
        after: Value in the present config, as text.
    """

    path: str
    before: str
    after: str

    @property
    def is_refused(self) -> bool:
        """Return whether a run cannot resume with it."""
        return _matches(self.path, _REFUSED)

    def __str__(self) -> str:
        """Return one line for a person."""
        effects = (text for pattern, text in _EFFECTS if fnmatch.fnmatchcase(self.path, pattern))
        effect = "" if self.is_refused else next(effects, "")
        return f"{self.path}: {self.before} -> {self.after}{effect}"


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare two configs of a run.

    Folders, logs, worker processes, initial weights and tests are left out: they change nothing in
    what is trained from a checkpoint on.

    Args:
        before: Plain values of the checkpoint's config, as `parse_config_text` reads them.
        after: The same of the present config.
    """
    found = [
        change
        for key in DECIDES
        for change in _compare(before.get(key), after.get(key), key)
        if not _matches(change.path, _SILENT)
    ]
    kinds = {"types of param_scheduler": _scheduler_kinds, "kind of train_cfg": loop_kind}
    for name, kind in kinds.items():
        old, new = kind(before), kind(after)
        if old != new:
            found.append(_NewKind(name, _text(old), _text(new)))
    return found


def loop_kind(config: Mapping[str, Any]) -> str | None:
    """Return "epochs" or "iterations", which a run's loop counts, or None for another loop."""
    loop = config.get("train_cfg")
    if not isinstance(loop, Mapping):
        return None
    kinds = {"EpochBasedTrainLoop": "epochs", "IterBasedTrainLoop": "iterations"}
    if "type" not in loop:
        return "epochs" if loop.get("by_epoch", True) else "iterations"
    return kinds.get(str(loop["type"]).rpartition(".")[2])


def change_table(changes: Sequence[Change]) -> str:
    """Make lines of changes, the refused ones first; long lists are cut."""
    lines = [str(change) for change in sorted(changes, key=lambda one: not one.is_refused)]
    more = len(lines) - _LONGEST_LIST
    lines = lines[:_LONGEST_LIST] + ([f"... and {more} more"] if more > 0 else [])
    return "\n".join(f"  {line}" for line in lines)


class _NewKind(Change):
    """Change to schedulers or a loop of another kind: the saved states are of the old ones."""

    @property
    def is_refused(self) -> bool:
        return True


def _scheduler_kinds(config: Mapping[str, Any]) -> list[Any]:
    schedulers = listed(config.get("param_scheduler"))
    return [one.get("type") if isinstance(one, Mapping) else one for one in schedulers]


def _compare(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            yield from _compare(before.get(key, _ABSENT), after.get(key, _ABSENT), f"{path}.{key}")
    elif _are_lists_of_dicts(before, after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from _compare(*pair, f"{path}.{number}")
    elif before != after:
        yield Change(path, _text(before), _text(after))


def _are_lists_of_dicts(before: Any, after: Any) -> bool:
    return (
        isinstance(before, list)
        and isinstance(after, list)
        and len(before) == len(after)
        and any(isinstance(one, Mapping) for one in before)
    )


def _text(value: Any) -> str:
    text = value if value is _ABSENT else repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 4] + " ..."


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
