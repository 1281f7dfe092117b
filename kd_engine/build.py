"""Models, teachers and terms built from config dicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import nn

from kd_core import Term
from kd_core.several_teachers import split_terms
from kd_core.term_options import term_of
from kd_engine.config.file import read_config
from kd_engine.config.preprocessor import preprocessed_model
from kd_engine.weights.checkpoint import use_safe_checkpoints
from kd_engine.weights.pretrained import (
    has_pretrained,
    initialize_strictly,
    use_strict_pretrained,
)
from kd_engine.weights.settings import initial_weight_settings
from kd_engine.weights.source import OPTIONS, WeightSource
from kd_engine.weights.source import TRAINING_ONLY as TRAINING_ONLY
from kd_engine.weights.source import read_engine_checkpoint as read_engine_checkpoint
from kd_engine.weights.teacher_classes import CLASSES, SAME_CLASSES
from kd_engine.work_dir.run_checkpoint import checkpoint_file

NO_CHECKPOINT = "The teacher has no checkpoint: what its own config does not load is random."
_REFERENCE = {"config", "checkpoint"}  # keys of a teacher
_WEIGHT_FILES = ("checkpoint", "pretrained", "teacher_ckpt")
_TEACHER_KEYS = ("config", "checkpoint", *OPTIONS, "precision", SAME_CLASSES, CLASSES)


def is_distilled(model: Mapping[str, Any]) -> bool:
    """Return whether a model config is a student with other networks attached."""
    return "student" in model


def student_config(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain student of a model config; a plain model is its own student.

    Raises:
        ValueError: If the student is not a dict.
    """
    plain = model["student"] if is_distilled(model) else model
    if not isinstance(plain, Mapping):
        raise ValueError(f"student must be a model config, a dict, but it is {plain!r}.")
    return copy.deepcopy(dict(plain))


def without_initial_weights(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model config that neither reads nor downloads weights that a checkpoint replaces.

    mmdet's models read their initial weights when a training starts. Parts that do when they are
    made, also where nothing is to be trained, say so: see
    :func:`kd_engine.weights.settings.loads_initial_weights`.
    """
    plain = copy.deepcopy(dict(model))
    for name, part in plain.items():
        if isinstance(part, Mapping) and (left_out := initial_weight_settings(part)):
            plain[name] = {key: value for key, value in part.items() if key not in left_out}
    return plain


def without_weight_files(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model config that reads no file of weights, so that every network is random.

    Args:
        model: Model config, plain or distilled; teachers in other files become part of it.
    """
    found: dict[str, Any] = _without_files(model)
    return found


def _without_files(node: Any) -> Any:
    if isinstance(node, Mapping):
        plain = without_initial_weights(node)
        if _REFERENCE <= set(plain) and isinstance(plain["config"], str):
            plain["config"] = student_config(preprocessed_model(read_config(plain["config"])))
        return {key: None if _reads(key, value) else _without_files(value)
                for key, value in plain.items()}  # fmt: skip
    if isinstance(node, list | tuple):
        return type(node)(_without_files(item) for item in node if not _is_pretrained(item))
    return node


def _reads(key: str, value: Any) -> bool:
    of_pvt = key == "init_cfg" and isinstance(value, Mapping) and "checkpoint" in value  # no type
    return of_pvt or _is_pretrained(value) or (key in _WEIGHT_FILES and isinstance(value, str))


def _is_pretrained(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "Pretrained"


def build_terms(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Term]:
    """Build the terms of a config.

    Args:
        configs: Name to ``dict(loss=, layers=, teacher_layers=, weight=, schedule=, teacher=,
            normalize=, connector=, mask=, share=)``; all but the first two are optional,
            ``schedule`` is a dict or a list of dicts, ``weight`` a number, "auto" or
            ``dict(type="kd_core.AutoWeight", ...)``, ``teacher`` a name or several
            (:func:`kd_core.several_teachers.split_terms`).

    Raises:
        ValueError: If a term has an unknown key, or one is missing.
    """
    return {name: _build_term(name, config) for name, config in split_terms(configs).items()}


def build_weight(weight: Any) -> Any:
    """Return the weight of a config's term: a dict is built, such as that of an ``AutoWeight``."""
    return MODELS.build(dict(weight)) if isinstance(weight, Mapping) else weight


def build_trained(
    reference: Mapping[str, Any], name: str = "teacher", more: Sequence[str] = ()
) -> tuple[nn.Module, torch.dtype | None]:
    """Build a trained model that a config refers to; see :func:`build_teacher`.

    Args:
        reference: ``dict(config=, checkpoint=, allow_partial=False, key=None, prefix=None,
            precision=None)``; see :class:`kd_engine.weights.source.WeightSource`.
        name: Its key in the model config, for the message.
        more: Further keys that it may have, which the caller reads.

    Returns:
        The model, and the autocast dtype of its forward.

    Raises:
        ValueError: If there is an unknown key, or one is missing.
        kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
    """
    known = (*_TEACHER_KEYS, *more)
    unknown = sorted(set(reference) - set(known))
    if unknown or "config" not in reference or "checkpoint" not in reference:
        raise ValueError(
            f"{name} must have config and checkpoint, and may have {', '.join(known[2:])}, "
            f"but it has {sorted(reference)}."
        )
    options = {key: reference[key] for key in OPTIONS if key in reference}
    model = build_teacher(reference["config"], reference["checkpoint"], **options)
    precision = reference.get("precision")
    return model, None if precision is None else getattr(torch, precision)


def build_teacher(
    config: str | Mapping[str, Any],
    checkpoint: str | None,
    allow_partial: bool = False,
    key: str | None = None,
    prefix: str | None = None,
) -> nn.Module:
    """Build a teacher and load its weights, strictly and safely.

    Nothing else changes: later random numbers are the same as without the teacher.

    Args:
        config: Config file, ``mmdet::`` name, or a model config.
        checkpoint: File, URL or work dir of a run, of which the best, otherwise the last,
            checkpoint is taken; ``None`` for a teacher whose config loads its own weights, such
            as a trunk's checkpoint, an ``init_cfg`` of type Pretrained, or stored embeddings.
        allow_partial: Accept a checkpoint that does not fit entirely, with a warning.
        key: Entry of the checkpoint that holds the weights, such as ``state_dict_ema``.
        prefix: Take only the keys that begin with this, without it.

    Raises:
        kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
    """
    found = preprocessed_model(read_config(config)) if isinstance(config, str) else config
    model = student_config(found)
    if checkpoint is not None and not allow_partial:
        model = without_initial_weights(model)
    with torch.random.fork_rng(devices=[]):
        teacher: nn.Module = MODELS.build(ConfigDict(model))
        lines = _from_own_files(teacher) if checkpoint is None else []
    if checkpoint is None:
        if any(True for _ in teacher.parameters()):  # stored rows have none, and need no file
            print_log(" ".join([NO_CHECKPOINT, *lines]), "current", 30)
    else:
        file = checkpoint_file(checkpoint, config if isinstance(config, str) else None)
        WeightSource(file, allow_partial, key, prefix).load_into(teacher)
    return teacher


def _from_own_files(teacher: nn.Module) -> list[str]:
    """Load what the parts of a teacher name in their init_cfg; return a line for each."""
    if not has_pretrained(teacher):
        return []
    use_safe_checkpoints()
    use_strict_pretrained()
    return initialize_strictly(teacher)


def _build_term(name: str, config: Mapping[str, Any]) -> Term:
    options = dict(config)
    try:
        if "loss" in options:
            options["loss"] = _build_loss(options["loss"])
        if "weight" in options:
            options["weight"] = build_weight(options["weight"])
        if "schedule" in options:
            schedule = options["schedule"]
            schedules = [schedule] if isinstance(schedule, Mapping) else schedule
            options["schedule"] = [MODELS.build(dict(one)) for one in schedules]
    except (TypeError, ValueError) as error:
        raise ValueError(f"term {name!r}: {error}") from error
    return term_of(name, options)


def _build_loss(config: Mapping[str, Any]) -> Any:
    """Build a loss, and first the one in it, as that of a ``CrossHeadLoss``."""
    inner = config.get("loss")
    built = {"loss": _build_loss(inner)} if isinstance(inner, Mapping) else {}
    return MODELS.build({**config, **built})
