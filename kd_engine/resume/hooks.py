"""Hooks of a run that resumes: checks of its checkpoint, and a validation that is still due."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.nn.parallel import DistributedDataParallel

from kd_core.checkpoint.load import CheckpointError, compare_weights
from kd_engine.doctor.scores import RunLog, read_log
from kd_engine.run.seeding import SeedHook

_OWN_SETTINGS = ("betas", "momentum", "alpha", "rho", "lambd", "momentum_decay")


class ResumeCheckHook(Hook):  # type: ignore[misc]
    """Hook that refuses a checkpoint whose weights, optimizer or classes are not the run's.

    mmengine itself loads what fits and does not mention the rest.

    Args:
        path: The checkpoint, for messages.
    """

    priority = "VERY_HIGH"

    def __init__(self, path: str) -> None:
        self.path = path

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Compare the checkpoint with the run.

        Raises:
            CheckpointError: If training cannot resume from it.
        """
        self._require_weights(runner.model, checkpoint["state_dict"])
        if "optimizer" in checkpoint:
            self._require_optimizer(runner.optim_wrapper, checkpoint["optimizer"])
        dataset = getattr(runner.train_dataloader, "dataset", None)
        now = (getattr(dataset, "metainfo", None) or {}).get("classes")
        before = (checkpoint["meta"].get("dataset_meta") or {}).get("classes")
        if _are_names(now) and _are_names(before):
            self._compare_classes(list(before or ()), list(now or ()))

    def _require_weights(self, model: Any, weights: Mapping[str, Any]) -> None:
        if is_model_wrapper(model):
            if not isinstance(model, DistributedDataParallel):
                return  # its state dict is in parts
            model = model.module
        theirs = {key.removeprefix("module."): value for key, value in weights.items()}
        report = compare_weights(model.state_dict(), theirs, ())
        if report.complete:
            return
        differing = [key for key, _ in (*report.missing, *report.unexpected)]
        differing += [key for key, _, _ in report.mismatched]
        reason = "its weights are not those of the model"
        if all(key.startswith(("distiller.", "distiller_")) for key in differing):
            reason = "it was trained with other terms, or one of the two without distillation"
        raise CheckpointError(self._refusal(f"{reason}:\n{report.table()}"))

    def _require_optimizer(self, wrapper: Any, state: Mapping[str, Any]) -> None:
        if not isinstance(wrapper, OptimWrapper) or not isinstance(state.get("param_groups"), list):
            return
        ours, theirs = wrapper.optimizer.param_groups, state["param_groups"]
        sizes = [[len(group["params"]) for group in groups] for groups in (theirs, ours)]
        if sizes[0] != sizes[1]:
            before, now = map(_groups, sizes)
            raise CheckpointError(
                self._refusal(f"its optimizer has {before}, and that of the run {now}")
            )
        kinds = [[key for key in _OWN_SETTINGS if key in group[0]] for group in (theirs, ours)]
        if kinds[0] != kinds[1]:
            name = type(wrapper.optimizer).__name__
            raise CheckpointError(
                self._refusal(f"its optimizer has {kinds[0]}, so it is not the {name} of the run")
            )

    def _compare_classes(self, before: Sequence[str], now: Sequence[str]) -> None:
        if before == now:
            return
        if sorted(before) == sorted(now):
            place, (old, new) = next(
                (number, pair)
                for number, pair in enumerate(zip(before, now, strict=True))
                if pair[0] != pair[1]
            )
            raise CheckpointError(
                self._refusal(f"its class {place} is {old!r}, and that of the data is {new!r}")
            )
        added, gone = sorted({*now} - {*before}), sorted({*before} - {*now})
        _warn(
            f"The classes of the data differ from those in {self.path}: {len(before)} then, "
            f"{len(now)} now; new {added[:5]}, gone {gone[:5]}. Resume only if they were renamed."
        )

    def _refusal(self, reason: str) -> str:
        return (
            f"training cannot resume from {self.path}: {reason.rstrip()}\nResume with the config "
            "of that run, or begin a new one from its weights in another work dir, without "
            f"--resume: --cfg-options load_from={self.path}"
        )


class DueValidationHook(Hook):  # type: ignore[misc]
    """Hook that validates first if a run was killed between a checkpoint and its validation.

    Args:
        work_dir: The run's folder, whose logs say what has a score.
        seeds: The hook that knows whether the run resumes within an epoch.
        always: Whether to validate even if there is a score: its consequences (the best
            checkpoint, a plateau of the learning rate, early stopping) are not in the checkpoint.
    """

    priority = "LOWEST"

    def __init__(self, work_dir: str, seeds: SeedHook, always: bool = False) -> None:
        self.seeds = seeds
        self.log = read_log(Path(work_dir))
        self.always = always

    def before_train(self, runner: Any) -> None:
        """Run the validation that is due and has not been done."""
        loop = runner.train_loop
        if runner.val_loop is None:
            return
        by_epoch = not isinstance(loop, IterBasedTrainLoop)
        step, last = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        if not step or (by_epoch and self.seeds.in_epoch):
            return
        loop._decide_current_val_interval()
        is_due = step >= loop.val_begin and (step % loop.val_interval == 0 or step >= last)
        if is_due and (self.always or not has_score(self.log, step, by_epoch)):
            _warn(f"{'Epoch' if by_epoch else 'Iteration'} {step} is evaluated first.")
            runner.val_loop.run()


def has_score(log: RunLog, step: int, by_epoch: bool) -> bool:
    """Return whether an epoch or iteration was validated."""
    if log.score_of(step) is not None:
        return True
    # LoggerHook writes the epoch, 0, for a validation of an iteration-based run.
    return bool(not by_epoch and log.ends_with_score and log.scores[-1].step == 0)


def _are_names(classes: Any) -> bool:
    return isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)


def _groups(sizes: list[int]) -> str:
    return f"{len(sizes)} group(s) of {sum(sizes)} parameters"


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
