"""Datasets of a config, built for checks before anything trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

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


def _broken(dataset: Any) -> Iterator[str]:
    for index in range(len(dataset)):
        try:
            dataset.read(index)
        except (OSError, ValueError) as error:
            yield str(error)
