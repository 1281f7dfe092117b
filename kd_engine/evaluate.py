"""Evaluation and export of a distillation config's student (or teacher) alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import is_model_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from kd_core.checkpoint.load import LoadReport, state_dict_of
from kd_core.checkpoint.tied import without_second_names
from kd_engine.build import (
    TRAINING_ONLY,
    is_distilled,
    student_config,
    without_initial_weights,
)
from kd_engine.config.file import read_config
from kd_engine.config.keys import SETTINGS, require_settings
from kd_engine.config.preprocessor import preprocessed_model
from kd_engine.run.runner import Runner
from kd_engine.weights.checkpoint import AtomicLocalBackend
from kd_engine.weights.source import WeightSource

_TRAINING = ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "custom_hooks")
_VALIDATION = ("val_dataloader", "val_cfg", "val_evaluator")
_TEST = ("test_dataloader", "test_cfg", "test_evaluator")
_RUN = ("launcher", "work_dir", "load_from", "load_options", "resume", "local_rank")


def teacher_of(config: Config) -> tuple[dict[str, Any], WeightSource | None]:
    """Return the teacher of a distillation config.

    Returns:
        Its plain model config, and the source of its weights.

    Raises:
        ValueError: If the config has no teacher, or several.
    """
    if several := config.model.get("teachers"):
        raise ValueError(
            f"the config must be one with one teacher, but it has {', '.join(several)}. Take the "
            "config of one of them, without --teacher."
        )
    if "teacher" not in config.model:
        kind = f"{'' if is_distilled(config.model) else 'plain '}{config.model.get('type')}"
        raise ValueError(
            "the config must be one with a teacher (model = dict(student=..., teacher=...)), but "
            f"its model is a {kind}. Leave --teacher out."
        )
    return referred_model(config.model.teacher), WeightSource.of(config.model.teacher)


def referred_model(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain model config that a ``dict(config=, checkpoint=)`` refers to.

    Raises:
        ValueError: If it refers to no config, as a backbone alone.
    """
    if "config" not in reference:
        raise ValueError(
            "a teacher that is tested, or that a student inherits from, must be a whole model with "
            f"a config, but it has only {', '.join(reference)}. Leave --teacher and inherit out."
        )
    config = reference["config"]
    return student_config(preprocessed_model(read_config(config)) if _is_name(config) else config)


def build_model(config: Config, model: Mapping[str, Any]) -> Any:
    """Build a model config in the scope (such as mmdet) that a run's config has."""
    init_default_scope(config.get("default_scope") or "mmdet")
    return MODELS.build(ConfigDict(copy.deepcopy(dict(model))))  # mmdet reads cfg.rpn and the like


def plain_config(config: Config, model: Mapping[str, Any] | None = None) -> Config:
    """Return a run's config with a plain model in the place of the distilled one.

    Args:
        config: A distillation config or a plain one; it is not changed.
        model: The plain model; the default is the config's student.

    Returns:
        The config, without what belongs to one run (work dir, what to resume from).
    """
    content = config.to_dict()
    content["model"] = dict(model) if model is not None else student_config(content["model"])
    for key in _RUN:
        content.pop(key, None)
    _drop_our_imports(content)
    return Config(content)


def evaluate_model(
    config: Config,
    checkpoint: str | WeightSource | None,
    model: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Evaluate a model on a config's test data with its test_evaluator.

    Args:
        config: A distillation config or a plain one.
        checkpoint: File, URL or source; what was trained together with the student is not
            needed. ``None`` for a model whose config loads its own weights.
        model: Plain model to evaluate; the default is the config's student.

    Returns:
        Name to value, as mmengine's metrics give them.

    Raises:
        ValueError: If the config describes no test.
        kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
    """
    require_settings(config, _TEST, "tested")
    source = WeightSource.named(checkpoint)
    weights = None if source is None else source.read()  # before anything slow
    plain = plain_config(config, model)
    for key in (*_TRAINING, *_VALIDATION):
        plain.pop(key, None)
    if source is not None and not source.allow_partial:
        plain.model = without_initial_weights(plain.model)
    plain.work_dir, plain.launcher = config.work_dir, config.get("launcher", "none")
    runner = Runner.from_cfg(plain)
    network = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if source is not None and weights is not None:
        source.put_into(network, weights)
    return {name: float(value) for name, value in runner.test().items()}


def write_json(content: Any, path: str) -> None:
    """Write a JSON file, whole or not at all."""
    AtomicLocalBackend().put_text(json.dumps(content, indent=2) + "\n", path)


def load_checkpoint_into(model: nn.Module, path: str) -> LoadReport:
    """Load the student's weights of a checkpoint of any run, strictly and safely."""
    return WeightSource(path).load_into(model)


def student_checkpoint(
    checkpoint: Mapping[str, Any], config: Config, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the part of a training checkpoint that a plain student needs.

    With an EMAHook the averaged weights are taken: mmengine saves them as ``state_dict``.

    Args:
        checkpoint: A checkpoint of a run, or weights alone.
        config: The run's config.
        defaults: Settings that the plain config gets where the run's config has none.

    Returns:
        ``state_dict`` without what only its training needs, and ``meta`` with ``dataset_meta`` (the
        classes) and the plain config, as mmdet's inferencer expects it.
    """
    plain = plain_config(config)
    plain.model = without_initial_weights(plain.model)
    own = {k: v for k, v in state_dict_of(checkpoint).items() if not k.startswith(TRAINING_ONLY)}
    weights = {
        key: value.detach().cpu().contiguous().clone()
        for key, value in without_second_names(own, lambda: _names_of(config, plain.model)).items()
    }
    found = checkpoint.get("meta") or {}
    meta: dict[str, Any] = {key: found[key] for key in ("epoch", "iter") if key in found}
    classes = found.get("dataset_meta") or _dataset_meta(config)
    if classes:
        meta["dataset_meta"] = dict(classes)
    plain.model.pop("criterion", None)
    for key in set(plain) - set(SETTINGS):  # variables: what used them has their values
        plain.pop(key)
    for key, value in (defaults or {}).items():
        plain.setdefault(key, value)
    meta["cfg"] = plain.pretty_text
    return {"meta": meta, "state_dict": weights}


def _names_of(config: Config, model: Mapping[str, Any]) -> Collection[str]:
    with torch.random.fork_rng(devices=[]):
        names: Collection[str] = build_model(config, model).state_dict().keys()
    return names


def write_student(content: Mapping[str, Any], out: str) -> None:
    """Write weights as .pth or .safetensors.

    A .safetensors file holds the classes as JSON under ``classes`` of its metadata.

    Raises:
        ValueError: If the name ends in neither.
        ImportError: If safetensors is needed and not installed.
    """
    if Path(out).suffix == ".pth":
        torch.save(dict(content), out)
        return
    weights: dict[str, Tensor] = content["state_dict"]
    classes = content["meta"].get("dataset_meta", {}).get("classes", ())
    metadata = {"format": "pt", "classes": json.dumps(list(classes))}
    # save_file of safetensors makes a file that nobody else may read.
    Path(out).write_bytes(_safetensors().save(weights, metadata))


def check_out(out: str) -> None:
    """Require a file name that the export can write, before anything slow is done.

    Raises:
        ValueError: If the name ends in neither .pth nor .safetensors.
        ImportError: If safetensors is needed and not installed.
    """
    if Path(out).suffix not in (".pth", ".safetensors"):
        raise ValueError(f"the output must end in .pth or .safetensors, but it is {out}.")
    if Path(out).suffix == ".safetensors":
        _safetensors()


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError("a .safetensors file needs: pip install safetensors") from error
    return safetensors.torch


def _dataset_meta(config: Config) -> dict[str, Any]:
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    return dict(dataset.get("metainfo") or {})


def _drop_our_imports(content: dict[str, Any]) -> None:
    """Remove the import of our packages if nothing of ours is named any more."""
    imports = content.pop("custom_imports", None)
    if imports is None:
        return
    named = imports["imports"] if _is_list(imports["imports"]) else [imports["imports"]]
    if '"kd_' not in json.dumps(content, default=str):
        named = [name for name in named if not name.startswith("kd_")]
    if named:
        content["custom_imports"] = {**imports, "imports": list(named)}


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_name(config: Any) -> bool:
    return isinstance(config, str)
