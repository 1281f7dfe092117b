"""Embedding of a dataset: an embedder run over it in order and without augmentation."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import DATASETS, init_default_scope
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_engine.build import (
    NO_CHECKPOINT,
    TRAINING_ONLY,
    student_config,
    without_initial_weights,
)
from kd_engine.data.required import require_datasets
from kd_engine.evaluate import build_model, teacher_of
from kd_engine.progress import progress_bar
from kd_engine.weights.source import WeightSource
from kd_engine.work_dir.run_checkpoint import checkpoint_file
from kd_retrieval.embedder import Embedder
from kd_retrieval.embeddings.rows import EmbeddingKey, EmbeddingRows

SPLITS = ("train", "val", "test")
_TRAINED_ONLY = ("criterion", "training")  # parts of a model config that no embedding depends on
_INITIAL = ("checkpoint", "weights", "pretrained")  # of a trunk: what the checkpoint replaces
_RANDOM = ("Rand", "AugMix", "AutoAug", "ColorJitter", "Elastic", "Gaussian", "ScaleJ", "Trivial")
_ASKED = ("ids", "labels", "roles", "records", "class_names", "fingerprint", "transform_key")


def open_dataset(config: Config, split: str = "test", transforms_of: str | None = None) -> Any:
    """Build the dataset of one of a config's data loaders.

    Args:
        config: The config of a run.
        split: ``train``, ``val`` or ``test``: whose loader.
        transforms_of: Take the transforms of that loader's dataset instead of its own.

    Returns:
        The dataset.

    Raises:
        ValueError: If the config lacks the loader, or its dataset is not for retrieval.
        FileNotFoundError: If the data is missing.
    """
    dataset = dict(dataset_config(config, split))
    if transforms_of is not None:
        dataset["transforms"] = dataset_config(config, transforms_of).get("transforms", ())
    require_datasets(config, (f"{split}_dataloader",))
    init_default_scope(config.get("default_scope") or "mmengine")
    data = DATASETS.build(dataset)
    if missing := [name for name in _ASKED if not hasattr(data, name)]:
        raise ValueError(
            f"images to embed must come from a dataset of kd_retrieval, but {type(data).__name__} "
            f"has no {', '.join(missing)}."
        )
    return data


def random_transforms(dataset: Any) -> list[str]:
    """Name the transforms of a dataset that are random, by torchvision's names in its key."""
    found: list[str] = []

    def visit(content: Any) -> None:
        if isinstance(content, Mapping):
            name = str(content.get("type", "")).rpartition(".")[2]
            found.extend([name] if name.startswith(_RANDOM) else [])
        for one in _inside(content):
            visit(one)

    visit(json.loads(dataset.transform_key()))
    return found


def open_model(
    config: Config, checkpoint: str | None, teacher: bool = False
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the student or the teacher of a config, with its weights, in eval mode.

    Args:
        config: A distillation config or a plain one.
        checkpoint: File, URL or work dir; None takes the one that the config names for its teacher.
        teacher: Build the teacher.

    Returns:
        The model and its config.

    Raises:
        ValueError: If the checkpoint is missing, or the model embeds no images.
        kd_core.checkpoint.CheckpointError: If it does not fit.
    """
    model_config, default = teacher_of(config) if teacher else (student_config(config.model), None)
    source = WeightSource.named(checkpoint and checkpoint_file(checkpoint, config), default)
    if source is None and not teacher:
        raise ValueError("a checkpoint is needed: CONFIG CHECKPOINT, of a run of this config.")
    fits = source is not None and not source.allow_partial  # then it brings every weight
    built = without_initial_weights(model_config) if fits else model_config
    model: nn.Module = build_model(config, built)
    if not isinstance(model, Embedder):
        raise ValueError(
            f"the model must turn images into embeddings, but it is a {type(model).__name__}. "
            "Take a kd_retrieval.Embedder."
        )
    if source is None:
        print_log(NO_CHECKPOINT, "current", logging.WARNING)
    else:
        source.load_into(model)
    return model.eval(), model_config


def key_of(
    model: nn.Module, model_config: Mapping[str, Any], data: Any, dtype: str
) -> EmbeddingKey:
    """Return the key of the embeddings of a dataset under a model: what they are made from.

    Args:
        model: The model with its weights. A checkpoint and the student exported from it give
            the same key, since the weights count and not the file.
        model_config: Its config; how it was initialized and trained does not count.
        data: The dataset.
        dtype: How vectors are stored.
    """
    return EmbeddingKey(
        checkpoint=weights_digest(model),
        data=data.fingerprint(),
        transform=data.transform_key(),
        model=model_digest(model_config),
        dtype=dtype,
    )


def model_digest(model_config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a model's config, without how it was initialized and trained."""
    kept = {name: value for name, value in model_config.items() if name not in _TRAINED_ONLY}
    if isinstance(kept.get("trunk"), Mapping):
        kept["trunk"] = {k: v for k, v in kept["trunk"].items() if k not in _INITIAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 of name, dtype, shape and bytes of the weights, without a distiller's."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name.startswith(TRAINING_ONLY):
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(numbers.numpy()))
    return digest.hexdigest()


def rows_of(data: Any, key: EmbeddingKey) -> EmbeddingRows:
    """Return what a dataset knows of its images, row by row.

    Raises:
        ValueError: If an image has several classes.
    """
    several = [row for row, label in enumerate(data.labels) if np.ndim(label)]
    if several:
        first = data.records[several[0]]
        raise ValueError(
            f"embeddings are kept with one class for each image, but {len(several)} have several, "
            f"first {first.path} (id {int(data.ids[several[0]])}). kdkit test measures recall "
            "of such data without keeping it."
        )
    return EmbeddingRows(
        labels=np.asarray(data.labels, dtype=np.int64),
        ids=np.asarray(data.ids, dtype=np.int64),
        roles=np.asarray(data.roles, dtype=np.int64),
        paths=tuple(str(record.path) for record in data.records),
        class_names=tuple(data.class_names),
        key=key,
    )


def embed(
    model: nn.Module, data: Any, batch_size: int = 64, workers: int = 0
) -> Iterator[NDArray[Any]]:
    """Embed a dataset, batch by batch.

    Args:
        model: An embedder in eval mode.
        data: The dataset.
        batch_size: Number of images in a batch.
        workers: Processes that read images.

    Yields:
        Embeddings float32 (N, D), in the order of the dataset.

    Raises:
        ValueError: If images differ in size, or come in another order than ``data.ids``.
    """
    network: Any = model.to(get_device())
    loader = DataLoader(data, batch_size, num_workers=workers, collate_fn=stack)
    position = 0
    with progress_bar("embedding", len(data), "images") as show:
        for batch in loader:
            ids = batch["ids"]
            if not np.array_equal(ids, data.ids[position : position + len(ids)]):
                raise ValueError(
                    "items must come in the order of the dataset's ids, but from item "
                    f"{position} on they are {ids[:4].tolist()}... instead of "
                    f"{data.ids[position:][:4].tolist()}..."
                )
            with torch.no_grad():
                inputs = network.data_preprocessor({"inputs": batch["inputs"]}, False)["inputs"]
                vectors: Tensor = network(inputs, mode="tensor")
            yield vectors.float().cpu().numpy()
            position += len(ids)
            show(position)


def stack(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a batch of items: images uint8 (N, 3, H, W) of one size and ids (N,)."""
    shapes = sorted({tuple(item["inputs"].shape) for item in items})
    if len(shapes) > 1:
        raise ValueError(
            f"images must have one size to be embedded, but they have {shapes[0]} and "
            f"{shapes[-1]}. Give the dataset transforms that end in a fixed size."
        )
    inputs = torch.stack([item["inputs"] for item in items])
    return {"inputs": inputs, "ids": np.array([int(item["ids"]) for item in items])}


def dataset_config(config: Config, split: str) -> Mapping[str, Any]:
    """Return the config of the dataset of one of a config's data loaders.

    Raises:
        ValueError: If the config lacks the loader.
    """
    loader = config.get(f"{split}_dataloader")
    if not loader:
        raise ValueError(
            f"the config must have a {split}_dataloader, but it has none. Choose another split of "
            f"{', '.join(SPLITS)}."
        )
    dataset: Mapping[str, Any] = loader["dataset"]
    return dataset


def _inside(content: Any) -> Sequence[Any]:
    if isinstance(content, Mapping):
        return list(content.values())
    return content if isinstance(content, list | tuple) else ()
