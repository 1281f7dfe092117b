"""Datasets of a config, built for checks before anything trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from kd_engine.data.file_sizes import sizes_of
from kd_engine.data.shared_images import ALLOW, MOST, judge_shared, shared_images
from kd_engine.doctor.data_warnings import warning_line
from kd_engine.run.batches import check_batches

LOADERS = ("train", "val", "test")
_SHOWN = 5  # messages about images in an error

BuiltDatasets = list[tuple[list[str], Any]]  # the loaders that have a dataset, and the dataset


def build_datasets(config: Config, loaders: Sequence[str] = LOADERS) -> BuiltDatasets:
    """Build each distinct dataset once.

    Args:
        config: The config of a run.
        loaders: Of which loaders: ``train``, ``val`` and ``test``.

    Returns:
        The names of the loaders that have it, and the dataset, for each.
    """
    found: list[tuple[list[str], Mapping[str, Any]]] = []
    for name in loaders:
        loader = config.get(f"{name}_dataloader")
        if not loader:
            continue
        same = next((names for names, given in found if given == loader["dataset"]), None)
        if same is None:
            found.append(([name], loader["dataset"]))
        else:
            same.append(name)
    return [(names, DATASETS.build(given)) for names, given in found]


def require_decodable(name: str, dataset: Any) -> None:
    """Decode every image of a dataset with its method ``read``.

    Args:
        name: The loader that has it, for the message.
        dataset: The dataset.

    Raises:
        ValueError: If some cannot be decoded; names the first ones.
    """
    broken = list(_broken(dataset))
    if broken:
        raise ValueError(
            f"every image must decode, but {len(broken)} of the {len(dataset):,} of the {name} "
            f"data do not: {' '.join(broken[:_SHOWN])}"
        )


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


def _broken(dataset: Any) -> Iterator[str]:
    for index in range(len(dataset)):
        try:
            dataset.read(index)
        except (OSError, ValueError) as error:
            yield str(error)


def _sizes(paths: Sequence[str]) -> dict[str, int]:
    """Return the bytes of files, or 0 where there are too many to compare bytes anyway."""
    return dict.fromkeys(paths, 0) if len(paths) > MOST else sizes_of(paths)
