"""Checks of evaluators: each must score the images that its data loader reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_det.annotations.coco_reader import read_coco
from kd_det.checks.data import dataset_classes, kind_and_classes
from kd_det.checks.report import DataReport
from kd_det.checks.scored_file import check_scored_file
from kd_engine.config.keys import listed
from kd_engine.data.download.public import missing_data_message
from kd_engine.data.required import dataset_parts
from kd_engine.data.voc_file import read_names

_Images = dict[Any, str]  # id to file name without folder and suffix


def check_evaluators(
    config: Config,
    loaders: Sequence[str] = ("val", "test"),
    required: Collection[str] = ("val",),
) -> list[DataReport]:
    """Compare each evaluator's ``ann_file`` with the annotations of its data loader.

    The same file passes at once. Another file must have the same images by id and name, and the
    classes of the loader as its categories in the same order; other boxes are a warning.

    Args:
        config: The config of a run.
        loaders: Which loaders and evaluators: ``val``, ``test``.
        required: Those whose ``ann_file`` must exist; for others a missing one is a warning, as
            training does not read it.

    Returns:
        One report for each metric that names an annotation file.
    """
    reports = []
    for name in loaders:
        loader, evaluator = config.get(f"{name}_dataloader"), config.get(f"{name}_evaluator")
        if not loader or not evaluator:
            continue
        for metric, dataset in _pairs(evaluator, loader["dataset"]):
            if isinstance(metric.get("ann_file"), str):
                report = DataReport(f"{name}_evaluator.ann_file={metric['ann_file']}")
                check_scored_file(report, metric)
                if not report.errors:
                    _compare(report, name, metric["ann_file"], dataset, name in required)
                reports.append(report)
    return reports


def _pairs(evaluator: Any, dataset: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Yield each metric with the dataset that it scores."""
    nested = isinstance(evaluator, Mapping) and "metrics" in evaluator
    metrics = listed(evaluator["metrics"] if nested else evaluator)
    parts = dataset.get("datasets") or []
    for number, metric in enumerate(metrics):
        if not isinstance(metric, Mapping):
            continue
        own = nested and str(evaluator.get("type")).endswith("MultiDatasetsEvaluator")
        yield metric, parts[number] if own and number < len(parts) else dataset


def _compare(
    report: DataReport, name: str, file: str, dataset: Mapping[str, Any], required: bool
) -> None:
    parts = list(dataset_parts(dataset))
    if any(_is_remote(part) or not kind_and_classes(part)[0] for part in parts):
        report.notes.append("not compared with the data of the loader")
        return
    sources = [_annotations_of(part) for part in parts]
    if not os.path.exists(file):
        (report.error if required else report.warn)("", missing_data_message(file))
        return
    whole = all(part.get("indices") is None for part in parts)
    if whole and len(parts) == 1 and os.path.realpath(file) == os.path.realpath(sources[0]):
        return
    try:
        scored = read_coco(file)
        wanted = _images_in(scored)
        found = [_images_of(part, source) for part, source in zip(parts, sources, strict=True)]
        images = {key: stem for one in found for key, stem in one.items()}
        _compare_images(report, name, wanted, images, sources)
        _compare_classes(report, scored, dataset)
        if not report.errors and kind_and_classes(parts[0])[0] == "coco" and whole:
            _compare_boxes(report, scored, [read_coco(source) for source in sources])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a metric may have its own
        report.notes.append(
            "not compared with the data of the loader, because one of them is not readable"
        )


def _compare_images(
    report: DataReport,
    name: str,
    wanted: _Images,
    images: _Images,
    sources: Sequence[str],
) -> None:
    common = len(wanted.items() & images.items())
    if common == len(wanted) == len(images):
        return
    report.error(
        "",
        f"the evaluator must score the images that the loader reads, but this file has "
        f"{len(wanted)}, {name}_dataloader reads {len(images)} of {', '.join(sources)}, and "
        f"{common} are the same by id and file name: the score would be false. Set "
        f"{name}_evaluator.ann_file to the loader's annotations.",
    )


def _compare_classes(
    report: DataReport, scored: Mapping[str, Any], dataset: Mapping[str, Any]
) -> None:
    categories = [category["name"] for category in scored.get("categories", [])]
    for classes in dataset_classes(dataset):
        if [name for name in categories if name in classes] != list(classes):
            report.error(
                "categories",
                f"the evaluator's categories must have the classes of the config in their order, "
                f"{', '.join(classes)}, but they are {', '.join(map(str, categories))}. Set the "
                "evaluator's ann_file to the loader's annotations.",
            )
            return


def _compare_boxes(
    report: DataReport, scored: Mapping[str, Any], contents: Sequence[Mapping[str, Any]]
) -> None:
    ones = _boxes_in(scored)
    others = sum((_boxes_in(content) for content in contents), Counter[Any]())
    differ = (ones - others).total() + (others - ones).total()
    if differ:
        report.warn(
            "",
            f"{differ} boxes of {ones.total()} differ from those of the data loader: the score is "
            "on the evaluator's.",
        )


def _annotations_of(part: Mapping[str, Any]) -> str:
    return os.path.join(part.get("data_root") or "", part.get("ann_file") or "")


def _is_remote(part: Mapping[str, Any]) -> bool:
    arguments = part.get("backend_args") or {}
    return str(arguments.get("backend", "local")) != "local"


def _images_of(part: Mapping[str, Any], source: str) -> _Images:
    """Return what a loader reads of one file; ``indices`` select from it."""
    if kind_and_classes(part)[0] == "voc":
        images = {name: Path(name).name for name in read_names(Path(source))}
    else:
        images = _images_in(read_coco(source))
    indices = part.get("indices")
    if indices is None:
        return images
    rows = list(images.items())
    if isinstance(indices, int):
        return dict(rows[:indices] if indices >= 0 else rows[indices:])
    return dict(rows[index] for index in indices)


def _images_in(content: Mapping[str, Any]) -> _Images:
    return {one["id"]: Path(one.get("file_name", "")).stem for one in content["images"]}


def _boxes_in(content: Mapping[str, Any]) -> Counter[Any]:
    names = {category["id"]: category["name"] for category in content["categories"]}
    return Counter(
        (one["image_id"], names.get(one["category_id"]), tuple(one["bbox"]))
        for one in content["annotations"]
    )
