"""Data checks on real sets: their known faults are notes, not errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kd_det.checks.data import check_coco, check_dataset_config, check_voc
from kd_det.checks.run import check_all
from kd_engine.config.load import load_run_config
from kd_engine.data.file_sizes import file_sizes
from kd_engine.data.shared_images import shared_images

BCCD = ("RBC", "WBC", "Platelets")
CHESS = tuple(
    f"{color}-{piece}"
    for color in ("black", "white")
    for piece in ("bishop", "king", "knight", "pawn", "queen", "rook")
)


def _shared(name: str) -> Path:
    root = os.environ.get("KD_DATA")
    if not root or not Path(root, name).is_dir():
        pytest.skip(f"KD_DATA does not name a folder with {name}")
    return Path(root, name)


@pytest.mark.parametrize(
    ("split", "zero", "boxes"), [("train", 1, 2805), ("val", 1, 1138), ("test", 0, 945)]
)
def test_bccd_has_notes_and_no_errors(split: str, zero: int, boxes: int) -> None:
    root = _shared("bccd_voc")
    report = check_voc(root, root / f"ImageSets/Main/{split}.txt", BCCD, decode=split == "test")
    assert report.errors == report.warnings == []
    assert f"{boxes} boxes" in report.notes[0]
    assert sum("without width" in note and note[0] == "1" for note in report.notes) == zero
    coco = check_coco(root / f"annotations_coco/{split}.json", root / "JPEGImages", BCCD)
    assert coco.errors == [] and f"{boxes - zero} boxes" in coco.notes[0]


@pytest.mark.parametrize(("split", "boxes"), [("train", 2108), ("valid", 386), ("test", 376)])
def test_chess_has_notes_and_no_errors(split: str, boxes: int) -> None:
    root = _shared("chess_coco") / split
    report = check_coco(root / "_annotations.coco.json", root, CHESS, decode=split == "test")
    assert report.errors == report.warnings == []
    assert f"{boxes} boxes" in report.notes[0]
    assert any("without boxes" in note for note in report.notes) == (split == "test")


def test_coco53_has_no_errors() -> None:
    config = {
        "type": "CocoDataset",
        "data_root": str(_shared("coco53")),
        "ann_file": "annotations/instances_val2017.json",
        "data_prefix": {"img": "val2017/"},
    }
    (report,) = check_dataset_config(config, decode=True)
    assert report.errors == report.warnings == [] and "27 images, 173 boxes" in report.notes[0]


@pytest.mark.parametrize(
    ("config", "data", "images"),
    [
        ("configs/det/student+bccd", "bccd_voc", 364),
        ("configs/det/student+bccd_val", "bccd_voc", 292),
        ("configs/det/student+chess", "chess_coco", 231),
        ("configs/det/student+chess_val", "chess_coco", 260),
    ],
)
def test_a_run_on_real_data_has_neither_errors_nor_warnings(
    config: str, data: str, images: int
) -> None:
    """Boxes, images, splits and evaluators together."""
    _shared(data)
    settings = load_run_config(str(Path(__file__).parents[2] / config))
    reports = check_all(settings)
    assert [report.errors for report in reports] == [[]] * len(reports)
    assert [report.warnings for report in reports] == [[]] * len(reports)
    assert sum(len(report.files) for report in reports) == images


def test_the_splits_of_coco53_share_no_image() -> None:
    root = _shared("coco53")
    folders = [file_sizes([str(root / name)]) for name in ("train2017", "val2017")]
    assert [len(folder) for folder in folders] == [26, 27]
    assert shared_images(*folders).pairs == []
    assert len(shared_images(folders[0], {**folders[0], **folders[1]}).pairs) == 26
