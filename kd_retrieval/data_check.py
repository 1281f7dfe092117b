"""Checks of a config's data before it trains or scores: counts, classes, images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from kd_engine.build import student_config
from kd_engine.config.keys import listed
from kd_engine.data.datasets import (
    BuiltDatasets,
    build_datasets,
    check_built_splits,
    require_decodable,
)
from kd_engine.data.required import require_datasets
from kd_engine.evaluate import referred_model
from kd_engine.run.prerequisites import references_of
from kd_retrieval.cached_teacher import StoredEmbeddings
from kd_retrieval.datasets import BOTH, GALLERY, QUERY

_COLLATE = "kd_retrieval.collate"
_SHOWN = 5  # names in a message


def check_datasets(config: Config, images: bool = False) -> list[str]:
    """Check the datasets of a config's loaders against each other and against its model.

    Args:
        config: The config of a run.
        images: Decode every image too.

    Returns:
        A line about each dataset, and warnings.

    Raises:
        FileNotFoundError: If data is missing.
        ValueError: If counts differ from those published, classes to be searched are trained on,
            a loss has proxies for another number of classes, stored embeddings of the teacher are
            of other data, batches cannot hold the labels, or an image cannot be decoded.
    """
    datasets = build_datasets(config)
    lines = [f"{'+'.join(names)}: {_describe(dataset)}" for names, dataset in datasets]
    _check_classes(config, datasets)
    warnings = check_built_splits(config, datasets, _files_of)
    for names, dataset in datasets:
        _check_labels(config, names, dataset)
        if "train" in names:
            _check_proxies(config, dataset)
            _check_stored(config, dataset)
    if images:
        for names, dataset in datasets:
            require_decodable(names[0], dataset)
        lines.append("every image decodes")
    return lines + warnings


def check_test_classes(config: Config) -> None:
    """Refuse a score on classes that were trained on, if the training data is there.

    Raises:
        FileNotFoundError: If the test data is missing.
        ValueError: If train and test data share classes, or batches cannot hold the labels.
    """
    datasets = build_datasets(config, ("test",))
    for names, dataset in datasets:
        _check_labels(config, names, dataset)
    try:
        require_datasets(config, ("train_dataloader",))
        datasets += build_datasets(config, ("train",))
    except FileNotFoundError as error:
        print_log(
            f"it is unknown whether the classes to be searched were trained on: {error}",
            "current",
        )
    _check_classes(config, datasets)


def _describe(dataset: Any) -> str:
    text = (
        f"{type(dataset).__name__}, {len(dataset):,} images of {len(dataset.class_names):,} classes"
    )
    roles = np.asarray(dataset.roles)
    if (roles != BOTH).any():
        text += f", {int((roles != GALLERY).sum()):,} queries, "
        text += f"{int((roles != QUERY).sum()):,} in the gallery"
    return text


def _files_of(dataset: Any) -> list[str]:
    return [os.path.join(dataset.root, path) for path in getattr(dataset, "paths", ())]


def _check_classes(config: Config, datasets: BuiltDatasets) -> None:
    """Refuse a score on classes that were trained on: that is not a metric-learning score."""
    classes = {name: set(dataset.class_names) for names, dataset in datasets for name in names}
    for name in ("val", "test"):
        shared = sorted(classes.get("train", set()) & classes.get(name, set()))
        if shared and not _allowed(config.get(f"{name}_evaluator")):
            raise ValueError(
                f"classes to be searched must not be trained on, but train and {name} data share "
                f"{len(shared)} of {len(classes[name])}, such as {', '.join(shared[:_SHOWN])}. "
                f"Divide them by class, or set {name}_evaluator.allow_shared_classes=True: then "
                "it is a score on known classes."
            )


def _allowed(evaluator: Any) -> bool:
    return any(one.get("allow_shared_classes") for one in listed(evaluator))


def _check_labels(config: Config, names: list[str], dataset: Any) -> None:
    """Require that batches can hold several labels per image, where images have several."""
    if isinstance(dataset.labels, np.ndarray):
        return
    for name in names:
        found = (config[f"{name}_dataloader"].get("collate_fn") or {}).get("type")
        if found != _COLLATE:
            raise ValueError(
                f"images of the {name} data have several labels each, which "
                f"{found or 'the default collate_fn'} cannot put into a batch. Set "
                f"{name}_dataloader.collate_fn=dict(type='{_COLLATE}')."
            )


def _check_proxies(config: Config, dataset: Any) -> None:
    """Require that a loss with proxies has one for each training class."""
    criterion = student_config(config.model).get("criterion") or {}
    loss: Mapping[str, Any] = criterion.get("loss") or {}
    classes = len(dataset.class_names)
    if loss.get("num_classes", classes) != classes:
        raise ValueError(
            f"{loss['type']} has num_classes={loss['num_classes']}, but the training data has "
            f"{classes} classes. Set it to {classes}."
        )


def _check_stored(config: Config, dataset: Any) -> None:
    """Require that a teacher of stored embeddings has those of the training data."""
    for _, reference in references_of(config.model):
        teacher = referred_model(reference)
        if str(teacher.pop("type")).endswith(StoredEmbeddings.__name__):
            StoredEmbeddings(**teacher).check(dataset)
