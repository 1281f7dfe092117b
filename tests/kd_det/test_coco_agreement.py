"""COCO files: what the check says, and what mmdet's loading and scoring do, are the same."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators

# isort: split
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from PIL import Image

from kd_det.checks.data import check_dataset_config

GOOD: dict[str, Any] = dict(
    images=[dict(id=i + 1, file_name=f"{i}.png", width=100, height=100) for i in range(4)],
    annotations=[
        dict(
            id=i + 1,
            image_id=i + 1,
            category_id=1,
            bbox=[10.0, 20.0, 30.0, 40.0],
            area=1200.0,
            iscrowd=0,
        )
        for i in range(4)
    ],
    categories=[dict(id=1, name="thing")],
)


def _good() -> dict[str, Any]:
    """A copy of the content that is right."""
    return copy.deepcopy(GOOD)


def _write(folder: Path, content: Any) -> Path:
    """Write the annotations (an object, or bytes as they are) and the images."""
    (folder / "images").mkdir(exist_ok=True)
    for i in range(4):
        Image.new("RGB", (100, 100), (40 * i, 90, 160)).save(folder / f"images/{i}.png")
    file = folder / "annotations.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


def _config(file: Path, classes: tuple[str, ...] = ("thing",)) -> dict[str, Any]:
    """The config of the set, without resizing."""
    return dict(
        type="CocoDataset",
        ann_file=str(file),
        data_prefix=dict(img=str(file.parent / "images")),
        metainfo=dict(classes=classes),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackDetInputs", meta_keys=("img_id", "img_path")),
        ],
    )


def _perfect_score(config: dict[str, Any]) -> float:
    """Load the set as training does, and score its own boxes as validation does."""
    register_all_modules()
    training = DATASETS.build(copy.deepcopy(config))
    assert len(training[0]["data_samples"].gt_instances)
    dataset = DATASETS.build({**copy.deepcopy(config), "test_mode": True})
    metric = CocoMetric(ann_file=config["ann_file"])
    metric.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        image = dataset.get_data_info(i)
        boxes = torch.tensor([one["bbox"] for one in image["instances"]]).reshape(-1, 4).float()
        labels = torch.tensor([one["bbox_label"] for one in image["instances"]]).long()
        found = dict(bboxes=boxes, labels=labels, scores=torch.full((len(boxes),), 0.9))
        size = image["height"], image["width"]
        metric.process({}, [dict(img_id=image["img_id"], ori_shape=size, pred_instances=found)])
    return float(metric.evaluate(len(dataset))["coco/bbox_mAP"])


Change = Callable[[dict[str, Any]], Any]


def _each(**values: Any) -> Change:
    """Change every annotation; a function makes the value of the annotation."""

    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            for key, value in values.items():
                annotation[key] = value(annotation) if callable(value) else value

    return change


def _without(key: str) -> Change:
    return lambda content: [annotation.pop(key) for annotation in content["annotations"]] and None


def _image_ids(make: Callable[[int], Any]) -> Change:
    def change(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["id"] = make(image["id"])
        for annotation in content["annotations"]:
            annotation["image_id"] = make(annotation["image_id"])

    return change


def _category_ids(content: dict[str, Any]) -> None:
    _each(category_id="c")(content)
    content["categories"][0]["id"] = "c"


def _encoded(encoding: str) -> Change:
    return lambda content: json.dumps(content).encode(encoding)


READ_RIGHT: dict[str, Change] = {
    "good": lambda content: None,
    "ids_from_0": _each(id=lambda one: one["id"] - 1),
    "ids_below_0": _each(id=lambda one: one["id"] - 3),
    "ids_are_floats": _each(id=lambda one: float(one["id"])),
    "no_iscrowd": _without("iscrowd"),
    "iscrowd_null": _each(iscrowd=None),
    "iscrowd_true_or_false": _each(iscrowd=False),
    "byte_order_mark": _encoded("utf-8-sig"),
    "utf_16": _encoded("utf-16"),
    "utf_16_without_mark": _encoded("utf-16-le"),
    "utf_32": _encoded("utf-32"),
    "image_ids_from_0": _image_ids(lambda number: number - 1),
    "image_ids_are_words": _image_ids(lambda number: f"i{number}"),
    "image_ids_are_large": _image_ids(lambda number: 2**62 + number),
    "category_ids_are_words": _category_ids,
    "absolute_file_names": lambda content: content,  # made in the test, where the folder is known
}


@pytest.mark.parametrize("name", READ_RIGHT)
def test_what_the_check_passes_is_loaded_and_scored_right(tmp_path: Path, name: str) -> None:
    content = _good()
    if name == "absolute_file_names":
        for image in content["images"]:
            image["file_name"] = str(tmp_path / "images" / image["file_name"])
    made = READ_RIGHT[name](content)
    config = _config(_write(tmp_path, content if made is None else made))
    (report,) = check_dataset_config(config, decode=True)
    assert report.errors == []
    assert _perfect_score(config) == 1.0


def test_real_boxes_numbered_from_0_score_1() -> None:
    root = Path(os.environ.get("KD_DATA", ""), "chess_coco/valid")
    if not os.environ.get("KD_DATA") or not root.is_dir():
        pytest.skip("KD_DATA does not name a folder with chess_coco")
    content = json.loads((root / "_annotations.coco.json").read_bytes())
    assert min(annotation["id"] for annotation in content["annotations"]) == 0
    classes = tuple(one["name"] for one in content["categories"] if one["supercategory"] != "none")
    config = _config(root / "_annotations.coco.json", classes)
    config["data_prefix"] = dict(img=str(root))
    (report,) = check_dataset_config(config)
    assert report.errors == [] and any("ids below 1" in note for note in report.notes)
    assert _perfect_score(config) == 1.0


def _changed(content: dict[str, Any], *path: Any, to: Any) -> None:
    inner: Any = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to


def _first(*path: Any, to: Any) -> Change:
    """Change one place alone."""
    return lambda content: _changed(content, *path, to=to)


def _text(old: str, new: str) -> Change:
    return lambda content: json.dumps(content).replace(old, new).encode()


# Each ends a run of mmdet in a raw error, or in a score that is wrong.
REFUSED: dict[str, tuple[Change, list[str]]] = {
    "ids_are_words": (
        _each(id=lambda one: f"a{one['id']}"),
        ["(id 'a1')", "whole number", "from 1"],
    ),
    "area_null": (_each(area=None), ["annotations[0] (id 1)", "area", "None"]),
    "area_text": (_each(area="1200"), ["annotations[0] (id 1)", "area", "'1200'"]),
    "bbox_of_texts": (_each(bbox=["10", "20", "30", "40"]), ["(id 1)", "four", "'10'"]),
    "boxes_normalized": (_each(bbox=[0.1, 0.2, 0.3, 0.4]), ["boxes", "most boxes"]),
    "bbox_null": (_each(bbox=None), ["(id 1)", "four", "None"]),
    "bbox_with_nan": (_each(bbox=[1, 2, float("nan"), 4]), ["(id 1)", "four", "nan"]),
    "iscrowd_word": (_each(iscrowd="no"), ["(id 1)", "iscrowd", "'no'"]),
    "iscrowd_text_0": (_each(iscrowd="0"), ["(id 1)", "iscrowd", "'0'"]),
    "image_id_list": (_first("images", 0, "id", to=[1]), ["images[0]", "[1]"]),
    "image_id_null": (_first("images", 0, "id", to=None), ["images[0]", "None"]),
    "annotation_id_dict": (_first("annotations", 2, "id", to={}), ["annotations[2]", "{}"]),
    "category_id_list": (_first("categories", 0, "id", to=[1]), ["categories[0]", "[1]"]),
    "image_ids_mixed": (_first("images", 0, "id", to="i1"), ["1 of 4 are texts", "'i1'"]),
    "width_text": (_first("images", 1, "width", to="100"), ["images[1] (id 2)", "'100'"]),
    "file_name_number": (_first("images", 3, "file_name", to=3), ["images[3] (id 4)", "text"]),
    "latin_1": (
        lambda content: json.dumps({**content, "info": "\xe9"}, ensure_ascii=False).encode(
            "latin-1"
        ),
        ["broken", "utf-8", "UTF-8"],
    ),
    "deep_nesting": (lambda content: b"[" * 100_000 + b"]" * 100_000, ["nested too deeply"]),
    "not_json": (lambda content: b"images: []", ["must be JSON", "broken"]),
    "top_level_list": (lambda content: b"[]", ["must have a list 'images'"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_check_refuses_would_fail_or_score_wrong(tmp_path: Path, name: str) -> None:
    change, words = REFUSED[name]
    content = _good()
    made = change(content)
    config = _config(_write(tmp_path, content if made is None else made))
    (report,) = check_dataset_config(config)
    assert all(word in report.errors[0] for word in words), report.errors
    assert all(error.startswith(config["ann_file"]) for error in report.errors)
    try:
        score = _perfect_score(config)
    except Exception:
        return
    assert score < 1.0


def test_boxes_that_look_like_corners_are_a_warning(tmp_path: Path) -> None:
    content = _good()
    _each(bbox=[60.0, 50.0, 95.0, 90.0])(content)
    (report,) = check_dataset_config(_config(_write(tmp_path, content)))
    assert report.errors == []
    assert "are they x1, y1, x2, y2" in report.warnings[0]


@pytest.mark.slow
def test_the_tools_read_so_for_a_plain_config_of_mmdet(tmp_path: Path) -> None:
    content = _good()
    _each(id=lambda one: one["id"] - 1)(content)
    file = _write(tmp_path, content)
    code = (
        "from kd_engine.config.load import load_run_config\n"
        "load_run_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')\n"
        "from mmdet.datasets.api_wrappers import COCO\n"
        f"print('ids', sorted(COCO({str(file)!r}).anns))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ids [1, 2, 3, 4]" in done.stdout
