"""New images, of no dataset, to be searched for in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.config import Config

from kd_engine.data.image_folder import SUFFIXES
from kd_retrieval.datasets.base import RetrievalDataset, Table
from kd_retrieval.embeddings.embed import dataset_config


def open_images(
    config: Config, folder: str | Path, transforms_of: str = "test"
) -> RetrievalDataset:
    """Open all images in a folder and below, by name, with the transforms of a config.

    The class of an image is the folder that it lies in, and for one at the top it is empty. Ids
    are below 0, so that none is taken for an image of a dataset.

    Args:
        config: The config of a run.
        folder: The folder.
        transforms_of: ``train``, ``val`` or ``test``: whose dataset has the transforms.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has no image, or the config lacks the loader.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of images {root} is missing.")
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f"an image ({', '.join(SUFFIXES)}) must lie in {root} or below.")
    paths = [path.relative_to(root) for path in found]
    names = ["" if path.parent == Path() else path.parent.as_posix() for path in paths]
    classes, labels = np.unique(names, return_inverse=True)
    table = Table(
        paths=[path.as_posix() for path in paths],
        labels=labels.reshape(-1).astype(np.int64),
        ids=-1 - np.arange(len(paths), dtype=np.int64),
        class_names=tuple(map(str, classes)),
    )
    transforms = dataset_config(config, transforms_of).get("transforms", ())
    return RetrievalDataset(root, table, transforms)
