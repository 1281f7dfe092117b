"""The file that an evaluator scores has fields that it can score, also where it is another file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet.evaluation
import pytest
from mmengine.config import Config
from PIL import Image

from kd_det.checks.data import check_dataset_config, dataset_classes
from kd_det.checks.evaluator import check_evaluators

GOOD: dict[str, Any] = dict(
    images=[dict(id=i, file_name=f"{i}.png", width=100, height=100) for i in (1, 2)],
    annotations=[
        dict(
            id=i,
            image_id=i,
            category_id=1,
            bbox=[10, 20, 30, 40],
            area=1200,
            iscrowd=0,
            segmentation=[[10, 20, 40, 20, 40, 60]],
        )
        for i in (1, 2)
    ],
    categories=[dict(id=1, name="thing")],
)


def _errors(
    folder: Path,
    change: Callable[[dict[str, Any]], Any],
    metric: str = "CocoMetric",
    wanted: Any = "bbox",
) -> list[str]:
    """Check an evaluator whose file is a changed copy of the loader's."""
    for i in (1, 2):
        Image.new("RGB", (100, 100), (i, 0, 0)).save(folder / f"{i}.png")
    content = copy.deepcopy(GOOD)
    change(content)
    (folder / "val.json").write_text(json.dumps(GOOD))
    (folder / "scored.json").write_text(json.dumps(content))
    dataset = dict(
        type="CocoDataset",
        ann_file=str(folder / "val.json"),
        data_prefix=dict(img=str(folder)),
        metainfo=dict(classes=("thing",)),
    )
    evaluator = dict(type=metric, ann_file=str(folder / "scored.json"), metric=wanted)
    config = Config(dict(val_dataloader=dict(dataset=dataset), val_evaluator=evaluator))
    return [error for report in check_evaluators(config) for error in report.errors]


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["annotations"][0].update({key: value})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("id", "a1", ["annotations[0]", "whole number"]),
        ("area", None, ["annotations[0]", "area"]),
        ("bbox", ["1", "2", "3", "4"], ["annotations[0]", "four"]),
        ("iscrowd", "no", ["annotations[0]", "iscrowd"]),
    ],
)
def test_fields_that_end_a_run_when_scored(
    tmp_path: Path, key: str, value: Any, words: list[str]
) -> None:
    (error,) = _errors(tmp_path, _set(key, value))
    assert all(word in error for word in ["scored.json", *words]), error


def test_ids_from_0_and_no_iscrowd_are_scored_right(tmp_path: Path) -> None:
    assert _errors(tmp_path, lambda content: None) == []
    assert _errors(tmp_path, _set("id", 0)) == []
    assert _errors(tmp_path, _set("iscrowd", None)) == []


@pytest.mark.parametrize("wanted", ["segm", ["bbox", "segm"]])
def test_masks_are_checked_where_they_are_scored(tmp_path: Path, wanted: Any) -> None:
    assert _errors(tmp_path, _set("segmentation", []), wanted="bbox") == []
    assert _errors(tmp_path, lambda content: None, wanted=wanted) == []
    (error,) = _errors(tmp_path, _set("segmentation", []), wanted=wanted)
    assert "annotation 1 (image 1): segmentation must be" in error


@pytest.mark.parametrize("name", ["FasterCocoMetric", "LVISMetric"])
def test_other_libraries_get_ids_from_1_alone(tmp_path: Path, name: str) -> None:
    if not hasattr(mmdet.evaluation, name):
        pytest.skip(f"this mmdet has no {name}")
    for low in (0, -3):
        (error,) = _errors(tmp_path, _set("id", low), metric=name)
        assert "ids must begin at 1" in error and name in error
    assert _errors(tmp_path, lambda content: None, metric=name) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("images"),
        lambda content: content.update(images=["1.png", "2.png"]),
        lambda content: content.update(categories=["thing"]),
        lambda content: content["annotations"][0].pop("bbox"),
    ],
)
def test_a_metric_of_another_kind_may_score_another_layout(tmp_path: Path, change: Any) -> None:
    assert _errors(tmp_path, change, metric="MetricOfAnotherPackage") == []


@pytest.mark.parametrize("name", ["CocoPanopticDataset", "LVISV1Dataset", "WIDERFaceDataset"])
def test_readers_of_another_layout_are_not_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.json").write_text("{}")
    (report,) = check_dataset_config(dict(type=name, ann_file=str(tmp_path / "a.json")))
    assert report.errors == [] and "not checked" in report.notes[0]


def test_v3det_reads_its_classes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    v3det = dict(type="V3DetDataset", ann_file="a.json", data_root=str(tmp_path))
    assert dataset_classes(v3det) == [()]
    (report,) = check_dataset_config(v3det)
    assert report.errors == [] and "its classes are unknown" in report.notes[0]
    (tmp_path / "names.txt").write_text("aardvark\nzucchini\n")
    assert dataset_classes(dict(v3det, label_file="names.txt")) == [("aardvark", "zucchini")]


def test_class_counts_are_compared_where_classes_have_boxes() -> None:
    lvis = dict(type="LVISV1Dataset", ann_file="a.json", metainfo=dict(classes=("cat", "dog")))
    panoptic = dict(lvis, type="CocoPanopticDataset")
    assert dataset_classes(lvis) == [("cat", "dog")]
    assert dataset_classes(panoptic) == []


def test_without_the_folder_of_the_images_mmdet_stops(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    (report,) = check_dataset_config(dict(type="CocoDataset", ann_file=str(tmp_path / "a.json")))
    assert "data_prefix must have 'img'" in report.errors[0]
