"""Checks of splits against one another, for tasks whose datasets are lists of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config

from kd_engine.run.batches import check_batches
from kd_engine.data.datasets import BuiltDatasets
from kd_engine.doctor.data_warnings import warning_line
from kd_engine.data.file_sizes import sizes_of
from kd_engine.data.shared_images import ALLOW, MOST, judge_shared, shared_images


def check_built_splits(
    config: Config, datasets: BuiltDatasets, files_of: Callable[[Any], Sequence[str]]
) -> list[str]:
    """Require a whole batch of training data, and look for training images among those scored.

    Args:
        config: The config of a run.
        datasets: Its datasets, and the names of the loaders that have them.
        files_of: Returns the paths of a dataset's images; none where it has no files.

    Returns:
        A warning for each other split that has some training images.

    Raises:
        ValueError: If an epoch has no batch, or another split has nothing but training images
            and the config does not have ``allow_val_on_train = True``.
    """
    training = next((dataset for names, dataset in datasets if "train" in names), None)
    if training is None:
        return []
    check_batches(config.train_dataloader, len(training))
    allowed = bool(config.get(ALLOW, False))
    train = _sizes(files_of(training))
    warnings = []
    for names, dataset in datasets:
        scored = [name for name in names if name != "train"]
        files = train if dataset is training else _sizes(files_of(dataset))
        if scored and train and files:
            warning = judge_shared(shared_images(train, files), scored[0], allowed)
            warnings += [] if warning is None else [warning_line(warning)]
    return warnings


def _sizes(paths: Sequence[str]) -> dict[str, int]:
    """Return the bytes of files, or 0 where there are too many to compare bytes anyway."""
    return dict.fromkeys(paths, 0) if len(paths) > MOST else sizes_of(paths)
