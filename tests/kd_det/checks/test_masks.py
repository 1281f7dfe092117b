"""Segmentations: what the check says, and what mmdet loads and pycocotools scores, are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators

# isort: split
import numpy as np
import pycocotools.mask
import pytest
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from PIL import Image
from pycocotools.coco import COCO

from kd_det.checks.data import check_dataset_config

SQUARE = [10, 10, 40, 10, 40, 40, 10, 40]
TEXTS = [str(number) for number in SQUARE]
RUNS = [1010, *[30, 70] * 29, 30, 6060]  # 30 columns of 30 pixels, of 100 x 100


def _compressed() -> dict[str, Any]:
    mask = np.zeros((100, 100), np.uint8, order="F")
    mask[10:40, 10:40] = 1
    code = pycocotools.mask.encode(mask)
    return {"size": [100, 100], "counts": code["counts"].decode()}


def _config(folder: Path, segmentation: Any) -> dict[str, Any]:
    Image.new("RGB", (100, 100)).save(folder / "a.png")
    annotation = dict(id=1, image_id=1, category_id=1, bbox=[10, 10, 30, 30], area=900, iscrowd=0)
    if segmentation != "absent":
        annotation["segmentation"] = segmentation
    content = dict(
        images=[dict(id=1, file_name="a.png", width=100, height=100)],
        annotations=[annotation],
        categories=[dict(id=1, name="thing")],
    )
    (folder / "a.json").write_text(json.dumps(content))
    return dict(
        type="CocoDataset",
        ann_file=str(folder / "a.json"),
        data_prefix=dict(img=str(folder)),
        metainfo=dict(classes=("thing",)),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=True),
        ],
    )


def _areas(config: dict[str, Any]) -> tuple[int, int]:
    """Pixels of the mask in training, none if it is ignored, and when scored."""
    register_all_modules()
    made = DATASETS.build(config)[0]
    trained = 0 if made["gt_ignore_flags"].any() else int(made["gt_masks"].areas.sum())
    api = COCO(config["ann_file"])
    return trained, int(pycocotools.mask.area(api.annToRLE(api.anns[1])))


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        [SQUARE, [1, 2]],
        [SQUARE, [*SQUARE, 5]],
        {"size": [100, 100], "counts": RUNS},
        _compressed(),
    ],
    ids=["polygon", "polygon_and_scrap", "polygon_and_odd", "runs", "compressed_runs"],
)
def test_what_the_check_passes_is_loaded_and_scored(tmp_path: Path, segmentation: Any) -> None:
    config = _config(tmp_path, segmentation)
    (report,) = check_dataset_config(config)
    assert report.errors == []
    assert _areas(config) == (900, 900)


REFUSED: dict[str, Any] = {
    "absent": "absent",
    "null": None,
    "empty": [],
    "empty_polygon": [[]],
    "four_numbers": [[10, 10, 40, 40]],
    "scrap_first": [[1, 2], SQUARE],
    "odd": [[*SQUARE, 5]],
    "text": "polygon",
    "flat": SQUARE,
    "nan": [[float("nan")] * 6],
    "nulls": [[None] * 6],
    "code_of_another_size": {"size": [50, 50], "counts": [1010, 30, 1460]},
    "code_without_counts": {"size": [100, 100]},
    "code_of_texts": {"size": ["100", "100"], "counts": RUNS},
    "code_with_negative": {"size": [100, 100], "counts": [-5, 10005]},
    "code_that_ends_early": {"size": [100, 100], "counts": [1010, 30]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_check_refuses_would_fail_or_be_lost(tmp_path: Path, name: str) -> None:
    config = _config(tmp_path, REFUSED[name])
    (report,) = check_dataset_config(config)
    (error,) = report.errors
    assert "annotation 1 (image 1): segmentation must be" in error
    without = {**config, "pipeline": [dict(type="LoadImageFromFile")]}
    assert check_dataset_config(without)[0].errors == []
    try:
        trained, scored = _areas(config)
    except Exception:
        return
    assert not 0 < trained == scored == 900


def test_texts_as_corners_are_refused(tmp_path: Path) -> None:
    (report,) = check_dataset_config(_config(tmp_path, [TEXTS]))
    assert "segmentation must be" in report.errors[0]
