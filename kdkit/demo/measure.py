"""Measurements of trained detectors: size, arithmetic, speed and COCO mAP."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import statistics
import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from kd_core.checkpoint.load import load_weights, state_dict_of
from kd_engine.build import read_engine_checkpoint, student_config
from kdkit.demo.runs import Run

ROUNDS = 30


def trained_model(run: Run) -> nn.Module:
    """Build the plain detector of a run, without teacher, and load its last checkpoint."""
    model: nn.Module = MODELS.build(student_config(run.config.model))
    weights = state_dict_of(read_engine_checkpoint(str(run.checkpoint)))
    load_weights(model, weights, source=str(run.checkpoint))
    return model.eval()


def validation_batches(run: Run) -> Any:
    """Return a loader of single validation images, in order."""
    settings = dict(run.config.val_dataloader, batch_size=1, num_workers=0)
    settings["persistent_workers"] = False
    with contextlib.redirect_stdout(io.StringIO()):
        return Runner.build_dataloader(settings)


@torch.no_grad()
def evaluate(run: Run, model: Any) -> tuple[dict[str, float], list[Any]]:
    """Compute COCO mAP on the validation images.

    Returns:
        ``map`` and ``map50`` from 0 to 1, and the detections on each image.
    """
    loader = validation_batches(run)
    found = []
    with contextlib.redirect_stdout(io.StringIO()), _quiet_logs():
        evaluator = Evaluator(run.config.val_evaluator)
        evaluator.dataset_meta = loader.dataset.metainfo
        for batch in loader:
            samples = model.test_step(batch)
            evaluator.process(data_samples=samples, data_batch=batch)
            found += samples
        scores = evaluator.evaluate(len(loader.dataset))
    return {"map": scores["coco/bbox_mAP"], "map50": scores["coco/bbox_mAP_50"]}, found


@torch.no_grad()
def size_and_arithmetic(model: Any, batch: Mapping[str, Any]) -> dict[str, float]:
    """Count parameters, and multiply-adds of the forward of one image (mmengine's counter)."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    data = model.data_preprocessor(batch)
    forward = model.forward
    model.forward = functools.partial(forward, data_samples=data["data_samples"])
    try:
        with warnings.catch_warnings(), _quiet_logs():
            warnings.simplefilter("ignore")
            counted = get_model_complexity_info(
                model, inputs=(data["inputs"],), show_table=False, show_arch=False
            )
    finally:
        del model.forward  # the class's own again
    return {"parameters": parameters, "gflops": counted["flops"] / 1e9}


@torch.no_grad()
def milliseconds(models: Mapping[str, Any], batch: Any, rounds: int = ROUNDS) -> dict[str, float]:
    """Time prediction of one image: median over rounds in which the models take turns."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 2):
        for name, model in models.items():
            start = time.perf_counter()
            model.test_step(batch)
            if number >= 2:  # the first rounds warm up
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


@contextlib.contextmanager
def _quiet_logs() -> Any:
    """Silence the logs of each evaluation and of operators that are not counted."""
    before, logger = logging.root.manager.disable, MMLogger.get_current_instance()
    level = logger.level
    logging.disable(logging.WARNING)
    logger.setLevel(logging.ERROR)  # it remembers what was enabled before
    try:
        yield
    finally:
        logger.setLevel(level)
        logging.disable(before)
