"""Datasets that a config names, and the error where one of them is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from kd_engine.data.download.public import require_data

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def dataset_configs(config: Config) -> dict[str, dict[str, Any]]:
    """Return the datasets of a config by the name of their data loader."""
    return {key: config[key].dataset for key in _LOADERS if config.get(key)}


def dataset_parts(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the datasets inside the wrappers of a config's ``dataset``, or this itself."""
    inner = dataset.get("datasets", [dataset["dataset"]] if "dataset" in dataset else [])
    if not inner:
        yield dataset
    for one in inner:
        yield from dataset_parts(one)


def require_datasets(config: Config, loaders: tuple[str, ...] = _LOADERS) -> None:
    """Stop at once where the data of a config is missing.

    Raises:
        FileNotFoundError: Names the missing file or folder and the command that fetches it.
    """
    for name, dataset in dataset_configs(config).items():
        if name not in loaders:
            continue
        for part in dataset_parts(dataset):
            root = part.get("data_root") or ""
            if root:
                require_data(root)
            if part.get("ann_file"):
                require_data(os.path.join(root, part["ann_file"]))
