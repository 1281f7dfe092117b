"""Measurements of trained detectors: size, arithmetic, speed and COCO mAP."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from kd_core.checkpoint.load import load_weights, state_dict_of
from kd_engine.build import read_engine_checkpoint, student_config
from kd_engine.cost.latency import latencies
from kd_engine.cost.macs import count_macs
from kdkit.demo.runs import Run

ROUNDS, WARM_UP = 30, 2


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
    with contextlib.redirect_stdout(io.StringIO()), quiet_logs():
        evaluator = Evaluator(run.config.val_evaluator)
        evaluator.dataset_meta = loader.dataset.metainfo
        for batch in loader:
            samples = model.test_step(batch)
            evaluator.process(data_samples=samples, data_batch=batch)
            found += samples
        scores = evaluator.evaluate(len(loader.dataset))
    return {"map": scores["coco/bbox_mAP"], "map50": scores["coco/bbox_mAP_50"]}, found


def size_and_arithmetic(model: Any, batch: Mapping[str, Any]) -> dict[str, float]:
    """Count parameters, and multiply-adds of the prediction of one image."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    macs = count_macs(model, functools.partial(model.test_step, batch))
    return {"parameters": parameters, "gflops": macs / 1e9}


def milliseconds(models: Mapping[str, Any], batch: Any, rounds: int = ROUNDS) -> dict[str, float]:
    """Time prediction of one image: median over rounds in which the models take turns."""
    runs = {name: functools.partial(model.test_step, batch) for name, model in models.items()}
    found = latencies(runs, torch.device("cpu"), rounds, WARM_UP)
    return {name: 1000 * latency.median for name, latency in found.items()}


@contextlib.contextmanager
def quiet_logs() -> Any:
    """Silence the logs of each evaluation."""
    before, logger = logging.root.manager.disable, MMLogger.get_current_instance()
    level = logger.level
    logging.disable(logging.WARNING)
    logger.setLevel(logging.ERROR)  # it remembers what was enabled before
    try:
        yield
    finally:
        logger.setLevel(level)
        logging.disable(before)
