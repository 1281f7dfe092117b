"""Look at the data of a config before it trains or scores: counts, classes, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS

from kd_engine.student import is_distilled
from kd_retrieval.datasets import GALLERY, QUERY
from kd_retrieval.stored import StoredEmbeddings

_LOADERS = ("train", "val", "test")
_SHOWN = 5  # names in a message


def check_datasets(config: Config, images: bool = False) -> list[str]:
    """Check the data sets of a config's loaders against each other.

    Args:
        config: The config of a run.
        images: Decode every picture too.

    Returns:
        A line about each data set.

    Raises:
        FileNotFoundError: If data is missing.
        ValueError: If counts differ from those published, classes to be searched are trained on,
            stored embeddings of the teacher are of other data, or a picture cannot be decoded.
    """
    datasets = _datasets(config)
    lines = [f"{'+'.join(names)}: {_describe(dataset)}" for names, dataset in datasets]
    _check_classes(config, datasets)
    _check_stored(config, datasets)
    if images:
        for names, dataset in datasets:
            _decode(names[0], dataset)
        lines.append("every picture decodes")
    return lines


def _datasets(config: Config) -> list[tuple[list[str], Any]]:
    """Build each different data set once, with the loaders that have it."""
    found: list[tuple[list[str], Mapping[str, Any]]] = []
    for name in _LOADERS:
        loader = config.get(f"{name}_dataloader")
        if not loader:
            continue
        same = next((names for names, given in found if given == loader["dataset"]), None)
        if same is None:
            found.append(([name], loader["dataset"]))
        else:
            same.append(name)
    return [(names, DATASETS.build(given)) for names, given in found]


def _describe(dataset: Any) -> str:
    text = (
        f"{type(dataset).__name__}, {len(dataset):,} images of {len(dataset.class_names):,} classes"
    )
    roles = np.asarray(dataset.roles)
    if (roles != 0).any():
        text += f", {int((roles != GALLERY).sum()):,} queries, "
        text += f"{int((roles != QUERY).sum()):,} in the gallery"
    return text


def _check_classes(config: Config, datasets: list[tuple[list[str], Any]]) -> None:
    """Refuse a score on classes that were trained on: it is no metric-learning score."""
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
    several = evaluator if isinstance(evaluator, list | tuple) else [evaluator or {}]
    return any(one.get("allow_shared_classes") for one in several)


def _check_stored(config: Config, datasets: list[tuple[list[str], Any]]) -> None:
    teacher = config.model.teacher.config if is_distilled(config.model) else None
    if not isinstance(teacher, Mapping) or "file" not in teacher:
        return
    options = {key: value for key, value in teacher.items() if key != "type"}
    for names, dataset in datasets:
        if "train" in names:
            StoredEmbeddings(**options).check(dataset)


def _decode(name: str, dataset: Any) -> None:
    broken = list(_broken(dataset))
    if broken:
        raise ValueError(
            f"every picture must decode, but {len(broken)} of the {name} data do not: "
            + " ".join(broken[:_SHOWN])
        )


def _broken(dataset: Any) -> Iterator[str]:
    for index in range(len(dataset)):
        try:
            dataset.read(index)
        except (OSError, ValueError) as error:
            yield str(error)
