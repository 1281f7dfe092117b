"""COCO files: what is refused though mmdet would continue, and what is read in another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators

# isort: split
import pytest
from PIL import Image
from pycocotools.coco import COCO

from kd_det.annotations.coco_reader import provide_coco_reader
from kd_det.checks.data import DataReport, check_coco


def _good() -> dict[str, Any]:
    box = dict(category_id=1, bbox=[10.0, 20.0, 30.0, 40.0], area=1200.0, iscrowd=0)
    return dict(
        images=[dict(id=i + 1, file_name=f"{i}.png", width=100, height=100) for i in range(4)],
        annotations=[dict(id=i + 1, image_id=i + 1, **box) for i in range(4)],
        categories=[dict(id=1, name="thing")],
    )


def _write(folder: Path, content: dict[str, Any] | bytes) -> Path:
    (folder / "images").mkdir(exist_ok=True)
    for i in range(4):
        Image.new("RGB", (100, 100)).save(folder / f"images/{i}.png")
    file = folder / "annotations.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


def _report(folder: Path, content: dict[str, Any] | bytes) -> DataReport:
    return check_coco(_write(folder, content), folder / "images", ("thing",))


# mmdet would continue, with other data than the file seems to hold or with numbers that overflow.
VALUES: list[tuple[tuple[str, int, str], Any, list[str]]] = [
    (("annotations", 0, "id"), 2**63, ["annotations[0]", "2^63"]),
    (("annotations", 0, "id"), float("inf"), ["annotations[0]", "inf"]),
    (("annotations", 0, "id"), 0.5, ["annotations[0]", "0.5"]),
    (("images", 0, "id"), True, ["images[0]", "True"]),
    (("annotations", 1, "bbox"), [0, 0, 1e308, 9], ["annotations[1] (id 2)", "1e+308"]),
    (("annotations", 1, "bbox"), [0, 0, True, 9], ["annotations[1] (id 2)", "True"]),
    (("annotations", 1, "area"), float("nan"), ["annotations[1] (id 2)", "nan"]),
    (("annotations", 1, "iscrowd"), 2, ["annotations[1] (id 2)", "iscrowd", "2"]),
    (("images", 0, "file_name"), "", ["images[0] (id 1)", "file_name", "text"]),
]


@pytest.mark.parametrize(("place", "value", "words"), VALUES)
def test_values_that_mmdet_would_misread_are_refused(
    tmp_path: Path, place: tuple[str, int, str], value: Any, words: list[str]
) -> None:
    content = _good()
    content[place[0]][place[1]][place[2]] = value
    report = _report(tmp_path, content)
    assert all(word in report.errors[0] for word in words), report.errors


TEXTS: list[tuple[str, str, list[str]]] = [
    ('"width": 100', '"width": 1e400', ["images[0] (id 1)", "inf"]),
    ('"area": 1200.0', '"area": 0, "area": 9', ["'area'", "in 4 of them"]),
    ('"categories":', '"images": [], "categories":', ["'images'", "in 1 of them"]),
    ('"id": 1,', f'"id": {"9" * 5000},', ["broken", "digits"]),
    ('"0.png"', '"\\ud800.png"', ["image 1", "\\ud800.png is missing"]),
]


@pytest.mark.parametrize(("old", "new", "words"), TEXTS, ids=range(len(TEXTS)))
def test_texts_that_python_would_misread_are_refused(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    report = _report(tmp_path, json.dumps(_good()).replace(old, new).encode())
    assert all(word in report.errors[0] for word in words), report.errors
    "".join(report.errors).encode("utf-8")


def test_only_ids_below_1_are_renumbered_and_only_once(tmp_path: Path) -> None:
    provide_coco_reader()
    content = _good()
    for annotation in content["annotations"]:
        annotation["id"] *= 10
    assert sorted(COCO(str(_write(tmp_path, content))).anns) == [10, 20, 30, 40]
    content["annotations"][2]["id"] = 0
    read = COCO(str(_write(tmp_path, content)))
    assert sorted(read.anns) == [1, 2, 3, 4]
    assert [read.anns[number]["image_id"] for number in (1, 2, 3, 4)] == [1, 2, 3, 4]
    content["annotations"][3]["id"] = 0  # twice: mmdet stops at it, as the check does
    assert sorted(COCO(str(_write(tmp_path, content))).anns) == [0, 10, 20]
    assert "occurs 2 times" in _report(tmp_path, content).errors[0]


def test_what_plain_mmdet_does_not_read_is_noted(tmp_path: Path) -> None:
    content = _good()
    assert not any("plain" in note for note in _report(tmp_path, content).notes)
    content["annotations"][0]["id"] = 0
    for annotation in content["annotations"]:
        del annotation["iscrowd"]
    report = _report(tmp_path, json.dumps(content).encode("utf-8-sig"))
    notes = " | ".join(report.notes)
    assert report.errors == []
    assert "ids below 1" in notes and "4 boxes without iscrowd" in notes and "utf-8-sig" in notes


def test_paths_that_leave_the_folder_are_noted(tmp_path: Path) -> None:
    content = _good()
    content["images"][0]["file_name"] = "../images/0.png"
    content["images"][1]["file_name"] = str(tmp_path / "images/1.png")
    report = _report(tmp_path, content)
    assert report.errors == []
    assert any("2 images by a path that leads out of" in note for note in report.notes)
