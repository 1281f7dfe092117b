"""Check that a network whose logits are compared knows the classes of the data."""

from __future__ import annotations

from mmengine.config import Config

from kd_cls.adapter import compares_logits
from kd_engine.build import build_terms
from kd_engine.data.datasets import build_datasets
from kd_engine.run.prerequisites import references_of
from kd_engine.weights.teacher_classes import compare_classes


def check_teacher(config: Config) -> list[str]:
    """Compare the classes in the checkpoints of teachers and peers with the training data's.

    Methods of several networks always compare logits; terms do where they name them.

    Returns:
        A line about each network that knows other classes and whose logits are not compared.

    Raises:
        ValueError: If logits of equally many but other classes are compared.
    """
    if not config.get("train_dataloader") or not any(references_of(config.model)):
        return []
    (_, dataset), *_ = build_datasets(config, ("train",))
    terms = config.model.get("terms")
    scored = terms is None or any(map(compares_logits, build_terms(terms).values()))
    return compare_classes(config, dataset.class_names, scored)
