"""Check of an exported student: alone it outputs what it outputs under its distiller."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from kd_core import Distiller
from kd_core.checkpoint.load import read_checkpoint, state_dict_of
from kd_engine.build import (
    TRAINING_ONLY,
    build_terms,
    student_config,
    without_initial_weights,
)
from kd_engine.doctor.probe import normalized, probe_images
from kd_engine.evaluate import build_model, load_checkpoint_into


def compare_export(config: Config, checkpoint: str, exported: str, plain: str, output: str) -> str:
    """Compare the output of an exported student with that of the distilled model.

    The first is built from the exported config alone, and torch loads the exported weights into
    it strictly. The second is the student of the training checkpoint with a distiller attached;
    its teacher takes no part in its output, so a copy of the student stands in for it. For a
    method of several networks only the student is built. The two must be equal in every bit.

    Args:
        config: The config of the run.
        checkpoint: The run's checkpoint.
        exported: The exported weights.
        plain: The exported config.
        output: Name of the model's outputs, in the plural: "embeddings", "predictions".

    Returns:
        A sentence that names what was compared.

    Raises:
        kd_core.checkpoint.CheckpointError: If the checkpoint does not fit the student.
        RuntimeError: If the exported weights do not fit the plain model.
        ValueError: If the two differ.
    """
    alone, distilled = models_to_compare(config, checkpoint, exported, plain)
    images, source = probe_images(config)
    ours, theirs = _run(alone, images), _run(distilled, images)
    _require_equal(ours, theirs, output)
    return (
        f"plain {type(alone).__name__} loads {Path(exported).name} strictly and gives the same "
        f"{len(ours)} {output} of size {ours.shape[1]} as the distilled model on {source}"
    )


def models_to_compare(
    config: Config,
    checkpoint: str,
    exported: str,
    plain: str,
    change: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> tuple[nn.Module, nn.Module]:
    """Build the exported student, and the student of the training with a distiller attached.

    Args:
        config: The config of the run.
        checkpoint: The run's checkpoint.
        exported: The exported weights.
        plain: The exported config.
        change: Changes the model configs of both before they are built.

    Raises:
        kd_core.checkpoint.CheckpointError: If the checkpoint does not fit the student.
        RuntimeError: If the exported weights do not fit the plain model.
        ValueError: If the exported weights hold more than the student.
    """
    student = without_initial_weights(student_config(config.model))
    distilled: nn.Module = build_model(config, change(student))
    load_checkpoint_into(distilled, checkpoint)
    if "terms" in config.model:
        terms = {
            name: {key: value for key, value in term.items() if key != "teacher_layers"}
            for name, term in config.model.terms.items()
        }
        built = build_terms(terms)
        teachers = {term.teacher: copy.deepcopy(distilled) for term in built.values()}
        Distiller(teachers, built).attach(distilled)
    alone: nn.Module = build_model(config, change(Config.fromfile(plain).model))
    weights = state_dict_of(read_checkpoint(exported))
    if extra := [key for key in weights if key.startswith(TRAINING_ONLY)]:
        raise ValueError(
            f"an exported student must stand alone, but it has {', '.join(extra[:4])}."
        )
    alone.load_state_dict(weights, strict=True)
    alone.eval()
    distilled.eval()  # some models' train() returns nothing
    return alone, distilled


def _run(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        vectors: Tensor = model(normalized(model, images), mode="tensor")
    return vectors


def _require_equal(plain: Tensor, distilled: Tensor, output: str) -> None:
    if plain.shape != distilled.shape:
        raise ValueError(
            f"the exported student must give the {output} of the distilled model, but gives "
            f"{tuple(plain.shape)} instead of {tuple(distilled.shape)}."
        )
    if not torch.equal(plain, distilled):  # NaN is unequal too
        difference = float((plain - distilled).abs().max())
        raise ValueError(
            f"the exported student must give the {output} of the distilled model, but they differ "
            f"by up to {difference:.3g}."
        )
