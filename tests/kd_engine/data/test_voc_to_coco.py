"""VOC to COCO: a hand-made file, and a real set next to its published conversion."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kd_engine.data.voc_to_coco import voc_to_coco, write_coco_splits

OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>"
CORNERS = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"


def _write(root: Path, objects: list[tuple[str, int, tuple[float, ...]]]) -> None:
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    body = "".join(OBJECT.format(name, hard, CORNERS.format(*box)) for name, hard, box in objects)
    size = "<size><width>60</width><height>40</height></size>"
    (root / "Annotations/a.xml").write_text(f"<annotation>{size}{body}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("a\n")


def test_boxes_ids_and_zero_sizes(tmp_path: Path) -> None:
    objects = [("dog", 0, (1, 1, 11, 21)), ("cat", 0, (5, 5, 5, 9)), ("cat", 1, (3, 4, 8, 6))]
    _write(tmp_path, objects)
    write_coco_splits(tmp_path, ("cat", "dog"))
    coco = json.loads((tmp_path / "annotations_coco/train.json").read_text())
    assert coco["images"] == [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}]
    assert [category["id"] for category in coco["categories"]] == [1, 2]
    first, second = coco["annotations"]
    assert (first["id"], first["category_id"], first["bbox"]) == (1, 2, [0, 0, 10, 20])
    assert (first["area"], first["iscrowd"]) == (200, 0)
    assert (second["id"], second["category_id"], second["bbox"]) == (2, 1, [2, 3, 5, 2])
    assert second["iscrowd"] == 1


def test_an_unknown_class_is_named(tmp_path: Path) -> None:
    _write(tmp_path, [("cow", 0, (1, 1, 11, 21))])
    with pytest.raises(ValueError, match=r"a\.xml, object 1 has 'cow'"):
        voc_to_coco(tmp_path, tmp_path / "ImageSets/Main/train.txt", ("cat", "dog"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<xmin>1<", "<xmin>one<", ["a.xml, object 1", "'one'"]),
        ("<xmin>1<", "<xmin>1e400<", ["a.xml, object 1", "'1e400'"]),
        ("<difficult>0<", "<difficult>no<", ["a.xml, object 1", "'no'"]),
        ("<width>60<", "<width>wide<", ["a.xml", "'wide'"]),
        ("size>", "extent>", ["a.xml", "size"]),
        ("</annotation>", "", ["a.xml", "broken"]),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY a "a">]><annotation>', ["a.xml", "entities"]),
    ],
)
def test_what_cannot_be_converted_is_named(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    _write(tmp_path, [("cat", 0, (1, 1, 11, 21))])
    file = tmp_path / "Annotations/a.xml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError) as stop:
        voc_to_coco(tmp_path, tmp_path / "ImageSets/Main/train.txt", ("cat", "dog"))
    assert all(word in str(stop.value) for word in words), stop.value


def test_names_with_blanks_are_one_name(tmp_path: Path) -> None:
    _write(tmp_path, [("cat", 0, (1, 1, 11, 21))])
    (tmp_path / "Annotations/a.xml").rename(tmp_path / "Annotations/a b.xml")
    (tmp_path / "ImageSets/Main/train.txt").write_text("a b\n")
    made = voc_to_coco(tmp_path, tmp_path / "ImageSets/Main/train.txt", ("cat", "dog"))
    assert [image["file_name"] for image in made["images"]] == ["a b.jpg"]


@pytest.mark.parametrize("split", ["train", "val", "trainval", "test"])
def test_bccd_gives_the_recorded_coco_files(split: str) -> None:
    root = Path(os.environ.get("KD_DATA", ""), "bccd_voc")
    if not os.environ.get("KD_DATA") or not root.is_dir():
        pytest.skip("KD_DATA does not name a folder with bccd_voc")
    recorded = json.loads((root / f"annotations_coco/{split}.json").read_text(encoding="utf-8"))
    made = voc_to_coco(root, root / f"ImageSets/Main/{split}.txt", ("RBC", "WBC", "Platelets"))
    assert made == recorded
