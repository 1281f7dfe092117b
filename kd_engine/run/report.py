"""Report of a run on the terminal: model and data, progress, and the result."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from kd_core.base_distiller import attached_distillers
from kd_engine.doctor.scores import read_log
from kd_engine.export_files import kdkit_command
from kd_engine.terminal import clock, set_status

_TRAINING_ONLY = ("distiller.", "distiller_")


class RunReportHook(Hook):  # type: ignore[misc]
    """Hook that prints a short head before training, progress, and the scores.

    It does not change the run.
    """

    def __init__(self) -> None:
        self.scores: list[tuple[int, dict[str, float]]] = []
        self.began, self.first = 0.0, 0

    def before_train(self, runner: Any) -> None:
        """Print which model is trained on which data."""
        runner.logger.info("\n".join(["training starts", *_head(runner)]))
        self.began, self.first = time.monotonic(), runner.iter
        if self.first and _by_epoch(runner):  # an iteration-based log does not say when
            before = read_log(Path(runner.work_dir)).scores
            self.scores = [(one.step, dict(one.metrics)) for one in before
                           if one.step <= runner.epoch] + self.scores  # fmt: skip
        set_status("waiting for the first batch")

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Any] | None = None) -> None:  # fmt: skip
        """Note the progress of the training."""
        loss = (outputs or {}).get("loss")
        loss = loss.detach() if isinstance(loss, Tensor) else loss  # read when it is printed
        done, total = runner.iter + 1, runner.max_iters
        epoch = f"epoch {runner.epoch + 1} of {runner.max_epochs}, " if _by_epoch(runner) else ""
        length = len(runner.train_dataloader) if epoch else total
        position = batch_idx + 1 if epoch else done

        def line() -> str:
            seconds = (time.monotonic() - self.began) / (done - self.first) * (total - done)
            value = f", loss {float(loss):.4f}" if loss is not None else ""
            return f"{epoch}iteration {position} of {length}{value}, ETA {clock(seconds)}"

        set_status(line)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                       outputs: Any = None) -> None:  # fmt: skip
        """Note the progress of the validation."""
        _tell_batches("validation", batch_idx, len(runner.val_dataloader))

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                        outputs: Any = None) -> None:  # fmt: skip
        """Note the progress of the test."""
        _tell_batches("test", batch_idx, len(runner.test_dataloader))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the scores."""
        step = runner.epoch if _by_epoch(runner) else runner.iter
        self.scores.append((step, dict(metrics or {})))

    def last_line(self, runner: Any) -> str:
        """Return the last line of a finished training: its result, and possible next commands."""
        unit = "epoch" if _by_epoch(runner) else "iteration"
        steps = runner.epoch if unit == "epoch" else runner.iter
        said = f"{steps} {unit}{'' if steps == 1 else 's'} trained"
        if (best := self._best(runner)) is not None:
            name, value, step = best
            said = f"best {name} {value:.4f} at {unit} {step}"
        return f"done: {said}{_next(runner, best[2] if best else None)}"

    def _best(self, runner: Any) -> tuple[str, float, int] | None:
        hook = _checkpoints(runner)
        named = getattr(hook, "key_indicators", None) or [None]
        keys = [key for _, metrics in self.scores for key in metrics]
        if not keys:
            return None
        key = named[0] if named[0] in keys else keys[0]
        rule = (getattr(hook, "rules", None) or [None])[0] if named[0] == key else None
        less = rule == "less" or (rule is None and "loss" in key)
        values = [(step, metrics[key]) for step, metrics in self.scores if key in metrics]
        values = [(step, value) for step, value in values if not math.isnan(value)]
        if not values:
            return None
        step, value = (min if less else max)(values, key=lambda pair: pair[1])
        return key, float(value), step


def _head(runner: Any) -> list[str]:
    cfg, model = runner.cfg, runner.model
    model = model.module if is_model_wrapper(model) else model
    lines = [f"config    {cfg.filename}", f"work dir  {runner.work_dir}",
             f"log       {runner.logger.log_file}"]  # fmt: skip
    for name, loader in (("train", runner.train_dataloader), ("val", _val_loader(runner))):
        if loader is not None:
            lines.append(f"{name:8}  {_of_data(loader)}")
    epochs = f"{runner.max_epochs} epochs, " if _by_epoch(runner) else ""
    lines.append(f"length    {epochs}{runner.max_iters:,} iterations")
    lines.append(f"model     {_of_model(model)}")
    lines += [f"with      {name}: {_size(network)}" for name, network in _others(model)]
    return lines


def _of_data(loader: Any) -> str:
    dataset = loader.dataset
    meta = getattr(dataset, "metainfo", None) or {}
    classes = f" of {len(meta['classes']):,} classes" if meta.get("classes") else ""
    batch = getattr(loader.batch_sampler, "batch_size", None) or loader.batch_size
    size = f", {batch} a batch" if batch else ""
    return f"{type(dataset).__name__}, {len(dataset):,} images{classes}{size}"


def _val_loader(runner: Any) -> Any:
    return None if runner.val_loop is None else runner.val_dataloader


def _of_model(model: nn.Module) -> str:
    own = [value for name, value in model.named_parameters() if not name.startswith(_TRAINING_ONLY)]
    extra = [value for name, value in model.named_parameters() if name.startswith(_TRAINING_ONLY)]
    trained = _millions(value for value in own if value.requires_grad)
    text = f"{type(model).__name__}, {_millions(own)} parameters, {trained} of them trained"
    if extra:
        text += f"; {_millions(value for value in extra if value.requires_grad)} trained with it"
    return text


def _others(model: nn.Module) -> list[tuple[str, nn.Module]]:
    distillers = attached_distillers(model).values()
    networks = [found for distiller in distillers for found in distiller.networks()]
    return [(name.removeprefix("the "), network) for name, network, _ in networks]


def _size(network: nn.Module) -> str:
    return f"{type(network).__name__}, {_millions(network.parameters())} parameters"


def _millions(values: Any) -> str:
    return f"{sum(value.numel() for value in values) / 1e6:.2f} M"


def _tell_batches(what: str, batch_idx: int, length: int) -> None:
    more = batch_idx + 1 < length
    set_status(f"{what}: {batch_idx + 1} of {length} batches" if more else f"{what}: scoring")


def _by_epoch(runner: Any) -> bool:
    return type(runner.train_loop).__name__ != "IterBasedTrainLoop"


def _checkpoints(runner: Any) -> Any:
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def _next(runner: Any, best: int | None) -> str:
    """Return commands that use a checkpoint that exists: the best one, or the last one."""
    hook = _checkpoints(runner)
    candidates: list[Any] = [getattr(hook, "best_ckpt_path", None)]
    if best is not None and hook is not None:
        candidates.append(os.path.join(hook.out_dir, hook.filename_tmpl.format(best)))
    candidates.append(getattr(hook, "last_ckpt", None))
    found = next((path for path in candidates if path and os.path.isfile(path)), None)
    if found is None:
        return "; no checkpoint was saved"
    config = str(runner.dumped_config)
    given = [_short(config), _short(found)]
    out = _short(os.path.join(runner.work_dir, "exported.pth"))
    commands = [kdkit_command("test", *given)] if runner.cfg.get("test_dataloader") else []
    commands.append(kdkit_command("export", *given, out))
    return f"; next: {' or '.join(commands)}"


def _short(path: str) -> str:
    """Write a path below the present folder without that folder."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return path
