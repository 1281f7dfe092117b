"""Plan of the checkpoints that a config's schedule will leave: their folder and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.work_dir.checkpoint_names import number_in

_BY_EPOCH, _BY_ITER = "EpochBasedTrainLoop", "IterBasedTrainLoop"


@dataclass(frozen=True)
class CheckpointPlan:
    """Checkpoints that mmengine's CheckpointHook of a config will write.

    Attributes:
        template: File name with one ``{}`` for the epoch or iteration.
        numbers: Epochs or iterations whose files are there at the end, in order; ``None`` where
            the config alone does not show it, as for a loop of the user's own
            or one that may stop early.
        best: Metrics whose best checkpoint is kept, too.
        out_dir: The folder above, instead of the work dir.
        end: The last epoch or iteration; ``None`` where the config alone does not show it.
    """

    template: str
    numbers: tuple[int, ...] | None
    best: tuple[str, ...] = ()
    out_dir: str | None = None
    end: int | None = None

    @property
    def last(self) -> str | None:
        """Name of the last file; ``None`` if there is none, or it is not known."""
        return self.template.format(self.numbers[-1]) if self.numbers else None

    @property
    def writes_any(self) -> bool:
        """Return whether anything is written, as far as is known."""
        return self.numbers is None or bool(self.numbers) or bool(self.best)

    def folder(self, work_dir: Path) -> Path:
        """Return the folder of the checkpoints of a run in a work dir."""
        return Path(self.out_dir, work_dir.absolute().name) if self.out_dir else work_dir

    def number_of(self, name: str) -> int | None:
        """Return the epoch or iteration in a file name; ``None`` if the name is another one."""
        return number_in(name, self.template)

    def will_leave(self, name: str) -> bool:
        """Return whether a file of this name will, or may, be there at the end.

        The name of a best checkpoint holds the epoch of the best score, which is not known in
        advance.
        """
        number = self.number_of(name)
        if number is None:
            return False
        return self.numbers is None or number in self.numbers


def checkpoint_plan(config: Config) -> CheckpointPlan | None:
    """Read the plan of a config.

    Returns:
        The plan; ``None`` if checkpoints are written by another hook than mmengine's, by several,
        or to a remote place.
    """
    hook = _hook(config)
    if hook is None or "://" in str(hook.get("out_dir") or ""):
        return None
    by_epoch = hook.get("by_epoch", True)
    template = hook.get("filename_tmpl") or ("epoch_{}.pth" if by_epoch else "iter_{}.pth")
    early = any("EarlyStopping" in str(_type(one)) for one in config.get("custom_hooks") or ())
    end = None if early else _end(config.get("train_cfg") or {}, by_epoch)
    best = hook.get("save_best") or ()
    return CheckpointPlan(
        template=template,
        numbers=None if end is None else _kept(hook, end),
        best=(best,) if isinstance(best, str) else tuple(best),
        out_dir=hook.get("out_dir"),
        end=end,
    )


def _hook(config: Config) -> Mapping[str, Any] | None:
    hooks = {"checkpoint": dict(type="CheckpointHook", interval=1), **_default_hooks(config)}
    every = [hook for hook in (*hooks.values(), *(config.get("custom_hooks") or ())) if hook]
    writers = [one for one in every if "Checkpoint" in str(_type(one))]
    if not writers:
        return dict(interval=-1, save_last=False)  # nothing is written
    usual = len(writers) == 1 and _type(writers[0]) == "CheckpointHook"
    return writers[0] if usual else None


def _default_hooks(config: Config) -> Mapping[str, Any]:
    found: Mapping[str, Any] = config.get("default_hooks") or {}
    return found


def _type(hook: Any) -> Any:
    return hook.get("type") if isinstance(hook, Mapping) else type(hook).__name__


def _end(loop: Mapping[str, Any], by_epoch: bool) -> int | None:
    """Return the last epoch or iteration of a training loop, as the hook counts them."""
    kind = loop.get("type") or (_BY_EPOCH if loop.get("by_epoch", True) else _BY_ITER)
    if kind == _BY_EPOCH and by_epoch:
        return int(loop["max_epochs"]) if "max_epochs" in loop else None
    if kind == _BY_ITER:
        return 1 if by_epoch else int(loop["max_iters"]) if "max_iters" in loop else None
    return None  # iterations of epochs depend on the data; another loop is not known


def _kept(hook: Mapping[str, Any], end: int) -> tuple[int, ...]:
    interval, begin = hook.get("interval", -1), hook.get("save_begin", 0)
    numbers = []
    if interval > 0:
        first = begin or interval
        numbers = [n for n in range(first, end + 1, interval) if n > 0]
    if hook.get("save_last", True) and end not in numbers:
        numbers.append(end)
    most = hook.get("max_keep_ckpts", -1)
    return tuple(numbers[-most:] if most > 0 else numbers)
