"""Boxes on which nothing can be learned are refused, and odd conventions are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kd_det.annotations.box_table import coco_table
from kd_det.checks.boxes import check_boxes
from kd_det.checks.data import DataReport, check_coco, check_voc

GOOD = dict(bbox=[10.0, 20.0, 30.0, 40.0], area=1200.0, iscrowd=0)
VOC = (
    "<annotation><size><width>100</width><height>100</height></size>{}</annotation>",
    "<object><name>thing</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>",
)


@pytest.fixture
def coco(tmp_path: Path) -> Any:
    """Check a file of images of 100 x 100, each with one box of ``thing`` unless said."""
    (tmp_path / "images").mkdir()

    def check(
        changes: list[dict[str, Any]],
        classes: tuple[str, ...] = ("thing",),
        others: tuple[str, ...] = (),
    ) -> DataReport:
        images, annotations = [], []
        for number, change in enumerate(changes, start=1):
            Image.new("RGB", (100, 100)).save(tmp_path / f"images/{number}.png")
            images.append(dict(id=number, file_name=f"{number}.png", width=100, height=100))
            whole = dict(GOOD, id=number, image_id=number, category_id=1)
            annotations.append({**whole, **change})
        categories = [dict(id=i, name=name) for i, name in enumerate(classes + others, start=1)]
        content = dict(images=images, annotations=annotations, categories=categories)
        (tmp_path / "boxes.json").write_text(json.dumps(content))
        return check_coco(tmp_path / "boxes.json", tmp_path / "images", classes)

    return check


@pytest.fixture
def voc(tmp_path: Path) -> Any:
    """Check a VOC split, one file for each list of boxes (difficult, xmin, ymin, xmax, ymax)."""
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).mkdir()

    def check(files: list[list[tuple[Any, ...]]]) -> DataReport:
        for number, boxes in enumerate(files):
            Image.new("RGB", (100, 100)).save(tmp_path / f"JPEGImages/{number}.jpg")
            text = VOC[0].format("".join(VOC[1].format(*box) for box in boxes))
            (tmp_path / f"Annotations/{number}.xml").write_text(text)
        (tmp_path / "train.txt").write_text("\n".join(map(str, range(len(files)))))
        return check_voc(tmp_path, tmp_path / "train.txt", ("thing",))

    return check


def test_good_boxes_give_neither_errors_nor_warnings(coco: Any, voc: Any) -> None:
    report = coco([{}] * 4)
    assert (report.errors, report.warnings) == ([], [])
    report = voc([[(0, 11, 21, 40, 60)]] * 4)
    assert (report.errors, report.warnings) == ([], [])


LOST = {
    "boxes_normalized": (dict(bbox=[0.1, 0.2, 0.3, 0.4]), "4 below one pixel", "0 and 1"),
    "area_zero": (dict(area=0), "4 without area", ""),
    "area_negative": (dict(area=-1.0), "4 without area", ""),
    "ignored": (dict(ignore=1), "4 marked as crowd, ignore or difficult", ""),
    "crowds": (dict(iscrowd=1), "4 marked as crowd, ignore or difficult", ""),
    "half_a_pixel": (dict(bbox=[40.0, 50.0, 0.5, 0.5]), "4 below one pixel", ""),
}


@pytest.mark.parametrize("fault", LOST)
def test_a_file_whose_boxes_are_all_lost_is_an_error(coco: Any, fault: str) -> None:
    change, count, hint = LOST[fault]
    (error,) = coco([change] * 4).errors
    assert "boxes.json, boxes: most boxes of the file" in error
    assert "4 of 4 are not" in error and count in error and hint in error
    assert ("0 and 1" in error) == (fault == "boxes_normalized")


@pytest.mark.parametrize(("lost", "errors"), [(2, 0), (3, 1)])
def test_the_line_is_half_of_the_boxes(coco: Any, lost: int, errors: int) -> None:
    report = coco([dict(area=0)] * lost + [{}] * (4 - lost))
    assert len(report.errors) == errors


@pytest.mark.parametrize(
    ("count", "lost", "errors", "warnings"),
    [(10, 6, 1, 0), (10, 5, 0, 0), (9, 9, 0, 1), (9, 5, 0, 1)],
)
def test_one_class_of_several(coco: Any, count: int, lost: int, errors: int, warnings: int) -> None:
    nuts = [dict(category_id=2, area=0)] * lost + [dict(category_id=2)] * (count - lost)
    report = coco([{}] * 40 + nuts, ("bolt", "nut"))
    assert (len(report.errors), len(report.warnings)) == (errors, warnings)
    for text in report.errors + report.warnings:
        assert f"most boxes of 'nut' must be of use, but {lost} of {count}" in text


@pytest.mark.parametrize(
    ("marked", "errors", "warnings"), [(9, 0, 0), (11, 0, 1), (18, 0, 1), (19, 1, 0)]
)
def test_marks_of_people_may_be_more(coco: Any, marked: int, errors: int, warnings: int) -> None:
    nuts = [dict(category_id=2, iscrowd=1)] * marked + [dict(category_id=2)] * (20 - marked)
    report = coco([{}] * 80 + nuts, ("bolt", "nut"))
    assert (len(report.errors), len(report.warnings)) == (errors, warnings)


def test_boxes_of_no_class_of_the_config_do_not_count(coco: Any) -> None:
    changes = [{}] * 3 + [dict(category_id=2, area=0)] * 20
    assert len(coco(changes, ("thing", "other")).errors) == 1
    assert coco(changes, ("thing",), ("other",)).errors == []


def test_boxes_xyxy_are_a_warning(coco: Any) -> None:
    report = coco([dict(bbox=[60.0, 50.0, 95.0, 90.0])] * 4)
    assert report.errors == []
    (warning,) = report.warnings
    assert "4 of 4 boxes pass the border" in warning
    assert "4 lie inside when read as x1, y1, x2, y2: are they x1, y1, x2, y2?" in warning


@pytest.mark.parametrize(("right", "warnings"), [(3, 0), (2, 1)])
def test_corners_are_suspected_before_most_boxes_pass_the_border(
    coco: Any, right: int, warnings: int
) -> None:
    """Corners at the top left pass for x, y, width, height."""
    top_left, rest = [dict(bbox=[10, 10, 30, 30])] * right, [dict(bbox=[50, 60, 70, 80])]
    assert len(coco(top_left + rest).warnings) == warnings


def test_centers_are_a_warning(coco: Any) -> None:
    report = coco([dict(bbox=[70, 60, 60, 60])] * 2 + [dict(bbox=[30, 30, 50, 60])] * 2)
    (warning,) = report.warnings
    assert "2 of 4 boxes pass" in warning and "the center x, center y" in warning


def test_most_boxes_beyond_the_border_without_another_reading(coco: Any) -> None:
    report = coco([dict(bbox=[80, 90, 40, 40])] * 3 + [{}])
    assert report.errors == []
    (warning,) = report.warnings
    assert "3 of 4 boxes pass the border" in warning and "another size" in warning
    assert coco([dict(bbox=[80, 90, 21, 11])] * 3).warnings == []  # rounding


def test_every_box_twice_is_an_error_and_some_are_a_warning(coco: Any, voc: Any) -> None:
    twice = [dict(image_id=1 + number // 2) for number in range(8)]
    (error,) = coco(twice).errors
    assert "4 of 8 boxes are exact copies" in error and "Remove the copies" in error
    report = coco([dict(image_id=max(1, number)) for number in range(8)])
    assert report.errors == [] and "1 of 8 boxes are exact copies" in report.warnings[0]
    report = coco([dict(image_id=max(1, number)) for number in range(101)])
    assert report.errors == report.warnings == []
    assert "1 of 101 boxes are exact copies of others" in report.notes
    (error,) = voc([[(0, 11, 21, 40, 60), (0, 11, 21, 40, 60)]]).errors
    assert "1 of 2 boxes are exact copies" in error


def test_another_class_or_a_crowd_is_no_copy(coco: Any) -> None:
    changes = [dict(image_id=1 + number // 2, category_id=1 + number % 2) for number in range(8)]
    assert coco(changes, ("bolt", "nut")).errors == []
    changes = [dict(image_id=1 + number // 2, iscrowd=number % 2) for number in range(8)]
    assert coco(changes).errors == []


def test_inverted_voc_boxes_are_an_error(voc: Any) -> None:
    good = [(0, 11, 21, 40, 60)]
    (error,) = voc([good, [(0, 40, 21, 11, 60)], good, good, good]).errors
    assert "in 1 of 5 boxes they are not" in error and "Exchange" in error
    assert "image 1, object 1: [40.0, 21.0, 11.0, 60.0]" in error
    (error,) = voc([[(0, 50, 60, 30, 20)]] * 3).errors
    assert "3 of 3" in error and "Are they x, y, width, height?" in error


def test_negative_sides_of_coco_are_a_warning(coco: Any) -> None:
    report = coco([{}] * 5 + [dict(bbox=[40, 60, -30, 40])])
    assert report.errors == []
    (warning,) = report.warnings
    assert "1 of 6 boxes have a negative width" in warning and "annotation 6 (image 6)" in warning


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ((0, 0.1, 0.2, 0.4, 0.6), "0 and 1"),
        ((0, 30, 30, 30, 50), "3 below one pixel"),
        ((1, 11, 21, 40, 60), "3 marked as crowd, ignore or difficult"),
    ],
    ids=["normalized", "without width", "difficult"],
)
def test_lost_voc_boxes_are_an_error(voc: Any, box: tuple[Any, ...], text: str) -> None:
    (error,) = voc([[box]] * 3).errors
    assert "3 of 3 are not" in error and text in error


def test_copies_in_a_large_file() -> None:
    """Every seventh box comes twice, far apart; boxes that differ in one number are not copies."""
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(0, 50, (7000, 2)), rng.uniform(5, 40, (7000, 2))])
    boxes = np.concatenate([boxes, boxes[::7], boxes[1::7] + [0, 0, 0, 1e-6]])
    images = np.concatenate([np.arange(7000), np.arange(7000)[::7], np.arange(7000)[1::7]])
    annotations = [dict(id=i, image_id=0, area=1.0) for i in range(9000)]
    table = coco_table(
        annotations, boxes, images, np.full((9000, 2), 100.0), np.zeros(9000, dtype=np.int64)
    )
    report = DataReport("large")
    check_boxes(report, table, ("thing",))
    assert "1000 of 9000 boxes are exact copies" in report.warnings[0]
