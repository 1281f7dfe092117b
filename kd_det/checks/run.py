"""Data checks of a run: each dataset alone, then the datasets against one another."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from kd_det.checks.data import check_dataset_config
from kd_det.checks.evaluator import check_evaluators
from kd_det.checks.report import DataReport
from kd_det.checks.splits import check_splits
from kd_det.checks.training import check_flat_boxes, check_scored_data, check_training
from kd_engine.build import student_config
from kd_engine.data.required import dataset_configs


def check_all(config: Config, images: bool = False) -> list[DataReport]:
    """Check each dataset of a config, then the datasets against one another.

    Args:
        config: The config of a run.
        images: Decode every image too.

    Returns:
        The reports on the datasets of all loaders, and on the evaluators. Data that two loaders
        share is checked once. The checks of several datasets need each of them to be right, so
        they are made only if there is no error so far.
    """
    done: list[tuple[Any, list[DataReport]]] = []
    reports: dict[str, list[DataReport]] = {}
    for loader, dataset in dataset_configs(config).items():
        same = next((found for given, found in done if given == dataset), None)
        if same is None:
            same = check_dataset_config(dataset, decode=images)
            done.append((dataset, same))
        reports[loader] = same
    every = [report for _, found in done for report in found]
    if any(report.errors for report in every):
        return every
    if "train_dataloader" in reports:
        train = reports["train_dataloader"]
        check_training(config.train_dataloader, train)
        check_flat_boxes(config.train_dataloader, train, student_config(config.model))
    for loader in ("val_dataloader", "test_dataloader"):
        check_scored_data(reports.get(loader, []))
    check_splits(config, reports)
    return [*every, *check_evaluators(config)]
