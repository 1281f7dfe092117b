"""Checks of a config's data before it trains or scores: counts, classes, images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.config import Config

from kd_cls.datasets.samples import ImageFiles
from kd_engine.build import is_distilled, student_config, without_initial_weights
from kd_engine.data.datasets import (
    BuiltDatasets,
    build_datasets,
    check_built_splits,
    require_decodable,
)
from kd_engine.data.shared_images import ALLOW
from kd_engine.doctor.data_warnings import warning_line
from kd_engine.evaluate import build_model, teacher_of

_SHOWN = 3  # names in a message


def check_datasets(config: Config, images: bool = False) -> list[str]:
    """Check the datasets of a config's loaders against each other and against its models.

    Args:
        config: The config of a run.
        images: Decode every image too.

    Returns:
        A line about each dataset, and warnings.

    Raises:
        FileNotFoundError: If data is missing.
        ValueError: If counts differ from those published, splits have different classes or share
            images with the training data, the student has another number of classes, an image
            has a size that the student refuses, or an image cannot be decoded.
    """
    datasets = build_datasets(config)
    _check_same_classes(datasets)
    warnings = _check_disjoint(datasets, bool(config.get(ALLOW, False)))
    warnings += check_built_splits(config, datasets, _files_of)
    check_counts(config, datasets)
    lines = [
        f"{'+'.join(names)}: {type(dataset).__name__}, {len(dataset):,} images of "
        f"{len(dataset.class_names):,} classes"
        for names, dataset in datasets
    ]
    if (note := _note_on_teacher(config)) is not None:
        lines.append(note)
    if images:
        for names, dataset in datasets:
            require_decodable(names[0], dataset)
        lines.append("every image decodes")
    return lines + warnings


def check_test_data(config: Config, teacher: bool = False) -> None:
    """Check the test data against the model that is scored on it.

    Raises:
        FileNotFoundError: If the test data is missing.
        ValueError: If the model has another number of classes.
    """
    check_counts(config, build_datasets(config, ("test",)), teacher)


def check_counts(config: Config, datasets: BuiltDatasets, teacher: bool = False) -> None:
    """Require as many classes of the student, or of the teacher, as the data has.

    Raises:
        ValueError: If there are more or fewer.
    """
    owner = "teacher" if teacher else "student" if is_distilled(config.model) else "model"
    model = teacher_of(config)[0] if teacher else student_config(config.model)
    count = num_classes_of(config, model)
    for names, dataset in datasets:
        found = dataset.class_names
        if count != len(found):
            raise ValueError(
                f"the {owner} must have as many classes as its data, but it has {count} and the "
                f"{names[0]} data has {len(found)} ({', '.join(found[:_SHOWN])}, ...). Correct "
                "num_classes, or take other data."
            )


def num_classes_of(config: Config, model: Mapping[str, Any]) -> int:
    """Return how many classes a model config has: what it says, otherwise what the model says.

    Args:
        config: The config of the run.
        model: Config of a :class:`kd_cls.Classifier`.
    """
    network = model.get("network")
    said = [model.get("num_classes")]
    if isinstance(network, Mapping):
        said.append(network.get("num_classes"))
    for count in said:
        if isinstance(count, int):
            return count
    return int(build_model(config, without_initial_weights(model)).num_classes)


def _check_same_classes(datasets: BuiltDatasets) -> None:
    for (names, first), (others, second) in zip(datasets, datasets[1:], strict=False):
        if first.class_names != second.class_names:
            raise ValueError(
                "all data of a run must have the same classes in the same order, but "
                f"{names[0]} has {_some(first.class_names)} and {others[0]} "
                f"{_some(second.class_names)}."
            )


def _check_disjoint(datasets: BuiltDatasets, allowed: bool) -> list[str]:
    """Refuse a score on images that were trained on: ids are unique over a dataset's splits."""
    training = next((dataset for names, dataset in datasets if "train" in names), None)
    warnings = []
    for names, dataset in datasets:
        scored = [name for name in names if name != "train"]
        if training is None or not scored or not _same_set(training, dataset):
            continue
        if count := len(np.intersect1d(training.ids, dataset.ids)):
            text = (
                f"images to be scored must not be trained on, but {count:,} of the "
                f"{len(dataset):,} images of the {scored[0]} data are training images"
            )
            if not allowed:
                raise ValueError(
                    f"{text}. Set another split: 'train' leaves out what 'val' has, 'trainval' "
                    f"does not; or say in the config that this is intended: {ALLOW} = True."
                )
            warnings.append(warning_line(f"{text}. The score will be too good."))
    return warnings


def _files_of(dataset: Any) -> list[str]:
    images = getattr(dataset, "images", None)
    if not isinstance(images, ImageFiles):
        return []
    return [os.path.join(images.root, os.fsdecode(path)) for path in images.paths]


def _same_set(first: Any, second: Any) -> bool:
    return type(first) is type(second) and bool(first.root == second.root)


def _note_on_teacher(config: Config) -> str | None:
    """Note that the teacher has other classes; the model itself refuses terms on logits."""
    if "teacher" not in config.model:
        return None
    counts = [
        num_classes_of(config, model)
        for model in (student_config(config.model), teacher_of(config)[0])
    ]
    if counts[0] == counts[1]:
        return None
    return f"the teacher has {counts[1]:,} classes and the student {counts[0]:,}"


def _some(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
