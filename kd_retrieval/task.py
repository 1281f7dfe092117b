"""What the tools ask of retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import nn

from kd_engine.build import build_terms
from kd_engine.student import is_distilled
from kd_retrieval.data_check import check_datasets
from kd_retrieval.export_check import check_export

__all__ = [
    "STUDENT_ALONE",
    "check_asymmetric",
    "check_data",
    "check_export",
    "dry_run",
    "environment",
]

STUDENT_ALONE = "tools/embed.py {config} {weights} embeddings.npz"
_LIBRARIES = ("faiss-cpu", "timm", "pytorch-metric-learning", "onnx", "onnxruntime")
_TEACHER = "kd_retrieval.StoredEmbeddings"


def environment() -> list[tuple[str, str]]:
    """List the libraries of retrieval and their versions."""
    return [(name, _version(name)) for name in _LIBRARIES]


def check_data(config: Config, images: bool = False) -> list[str]:
    """Check counts and classes; with ``images`` decode every picture.

    Returns:
        Lines about each split.

    Raises:
        ValueError: If anything would harm the training or falsify the score.
    """
    check_asymmetric(config)
    _check_proxies(config)
    return check_datasets(config, images)


def check_asymmetric(config: Config) -> bool:
    """Warn where students search a teacher's gallery although nothing aligned the two spaces.

    Returns:
        True if there was reason to warn.
    """
    evaluators = config.get("test_evaluator") or []
    evaluators = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    if not any(one.get("gallery") for one in evaluators) or not is_distilled(config.model):
        return False
    terms = build_terms(config.model.terms)
    for term in terms.values():
        layers = [selector.path for selectors in term.student.values() for selector in selectors]
        if getattr(term.loss, "aligns_spaces", False) and "embedding" in layers:
            return False
    print_log(
        "student queries are searched in another network's gallery, but no term on 'embedding' "
        f"aligns the two spaces ({', '.join(terms)} do not): the score will be near chance. Add "
        "FeatureImitationLoss or EmbeddingCosineLoss on the embedding, with equal sizes.",
        "current",
        30,
    )
    return True


def dry_run(model: nn.Module, size: tuple[int, int] = (128, 128)) -> None:
    """Run an embedder on random images, without gradients; its modes stay as they are."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *size, generator=generator)
    try:
        with torch.no_grad():
            model(images)
    finally:
        for module, mode in modes:
            module.training = mode


def _check_proxies(config: Config) -> None:
    """Require that a loss with proxies has one for each training class."""
    student = config.model.student if is_distilled(config.model) else config.model
    loss: Mapping[str, Any] = (student.get("criterion") or {}).get("loss") or {}
    if "num_classes" not in loss or not config.get("train_dataloader"):
        return
    from mmengine.registry import DATASETS

    classes = len(DATASETS.build(config.train_dataloader.dataset).class_names)
    if loss["num_classes"] != classes:
        raise ValueError(
            f"{loss['type']} has num_classes={loss['num_classes']}, but the training data has "
            f"{classes} classes. Set it to {classes}."
        )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"not installed: pip install {name}"
