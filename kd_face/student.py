"""Embedder of faces from a trained kd_retrieval.Embedder, such as a distilled student.

The config says which transforms the network was tested with; its images are faces of 112 x 112 that
:mod:`kd_face.alignment` has cut. Config and checkpoint are read as by kdkit embed, so a checkpoint
is never unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kd_engine.config.load import load_run_config
from kd_engine.data.transforms import build_transforms
from kd_face.alignment import align
from kd_face.detection import Face
from kd_face.embedders import unit_rows
from kd_retrieval.embeddings.embed import (
    dataset_config,
    model_digest,
    open_model,
    weights_digest,
)

_BATCH = 64


class StudentEmbedder:
    """A trained embedder.

    Args:
        config: Config of its run, a file or an installed one.
        checkpoint: Its weights, such as those that kdkit export wrote.

    Raises:
        ValueError: If the config is not of an embedder, or lacks a test dataset.
        kd_core.checkpoint.CheckpointError: If the weights do not fit.
    """

    threshold = 2.0  # above any similarity: nobody passes before the gallery is calibrated

    def __init__(self, config: str, checkpoint: str):
        read = load_run_config(config, {})
        self._model, model_config = open_model(read, checkpoint)
        transforms = list(dataset_config(read, "test").get("transforms", ()))
        self._transform = build_transforms(transforms)
        self.name = f"student {Path(checkpoint).stem}"[:100]
        self.dim = int(self._model.dim)  # type: ignore[arg-type]
        parts = (weights_digest(self._model), model_digest(model_config), transforms)
        digest = hashlib.sha256(repr(parts).encode())
        self.version = digest.hexdigest()[:16]

    def crop(self, pixels: NDArray[Any], face: Face) -> NDArray[Any]:
        """Return the aligned face, RGB (112, 112, 3), uint8.

        Args:
            pixels: RGB (H, W, 3), uint8.
            face: A face of this image.
        """
        return align(pixels, face)

    @torch.inference_mode()
    def embed(self, crops: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return unit rows (N, D), float32.

        Args:
            crops: N results of :meth:`crop`.
        """
        found: list[NDArray[Any]] = [np.zeros((0, self.dim), np.float32)]
        for begin in range(0, len(crops), _BATCH):
            images = [
                self._transform(Image.fromarray(one)) for one in crops[begin : begin + _BATCH]
            ]
            batch = self._model.data_preprocessor({"inputs": images}, False)  # type: ignore[operator]
            found.append(unit_rows(self._model(batch["inputs"]).float().cpu().numpy()))
        return np.concatenate(found)
