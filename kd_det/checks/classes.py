"""Check of class counts: a detector must have as many classes as its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from kd_det.checks.data import dataset_classes
from kd_engine.build import student_config
from kd_engine.data.required import dataset_configs

_HEADS = ("bbox_head", "mask_head")


def check_class_counts(config: Config) -> None:
    """Compare the student's heads with the datasets of its config.

    Args:
        config: A distillation config or a plain one.

    Raises:
        ValueError: If a head has another number of classes than a dataset.
    """
    student = student_config(config.model)
    if "language_model" in student:  # a head over text tokens counts tokens, not classes
        return
    heads = dict(_counts(student, "model"))
    for loader, dataset in dataset_configs(config).items():
        for classes in dataset_classes(dataset):
            for place, count in heads.items():
                if classes and count != len(classes):
                    raise ValueError(
                        f"a detector must have as many classes as its data, but num_classes of the "
                        f"student's {place} is {count} and {loader} has {len(classes)} "
                        f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}). "
                        "Correct num_classes, or the classes in the dataset's metainfo."
                    )


def _counts(content: Any, place: str) -> Iterator[tuple[str, int]]:
    """Find the heads of a model config that count classes; an RPN has only object or not."""
    if isinstance(content, list | tuple):
        for index, item in enumerate(content):
            yield from _counts(item, f"{place}[{index}]")
    elif isinstance(content, Mapping):
        if _is_head(place) and isinstance(content.get("num_classes"), int):
            yield place, content["num_classes"]
        for key, item in content.items():
            yield from _counts(item, f"{place}.{key}")


def _is_head(place: str) -> bool:
    return place.split(".")[-1].split("[")[0] in _HEADS
