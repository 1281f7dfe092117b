"""Data checks: every fault is found and named, and nothing else is."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kd_det.checks.data import (
    DataReport,
    check_coco,
    check_dataset_config,
    check_voc,
    dataset_classes,
    raise_on_errors,
)

CLASSES = ("cat", "dog")
COCO: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40},
        {"id": 2, "file_name": "b.jpg", "width": 60, "height": 40},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 5,
            "bbox": [1, 2, 10, 20],
            "area": 200,
            "iscrowd": 0,
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 9,
            "bbox": [0, 0, 60, 40],
            "area": 2400,
            "iscrowd": 0,
        },
        {
            "id": 3,
            "image_id": 2,
            "category_id": 9,
            "bbox": [5, 5, 5.5, 5],
            "area": 27,
            "iscrowd": 0,
        },
    ],
    "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}],
}
VOC_OBJECT = "<object><name>{}</name><bndbox>{}</bndbox></object>"
VOC_BOX = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
VOC_SIZE = "<size><width>60</width><height>40</height></size>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a", "b"):
        picture = Image.effect_noise((60, 40), 90).convert("RGB")
        picture.save(tmp_path / f"JPEGImages/{name}.jpg")
    _voc(tmp_path, "a", [("cat", (2, 3, 12, 23)), ("dog", (1, 1, 61, 41))])
    _voc(tmp_path, "b", [("dog", (6, 6, 11, 11))])
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\n")
    return tmp_path


def _voc(folder: Path, name: str, objects: list[tuple[str, tuple[Any, ...]]]) -> None:
    body = "".join(VOC_OBJECT.format(label, VOC_BOX.format(*box)) for label, box in objects)
    text = f"<annotation>{VOC_SIZE}{body}</annotation>"
    (folder / f"Annotations/{name}.xml").write_text(text)


def _check_coco(folder: Path, content: Any, decode: bool = False) -> DataReport:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "train.json").write_text(text)
    return check_coco(folder / "train.json", folder / "JPEGImages", CLASSES, decode)


def _check_voc(folder: Path, decode: bool = False) -> DataReport:
    return check_voc(folder, folder / "ImageSets/Main/train.txt", CLASSES, decode)


def test_a_good_coco_set_has_no_errors(folder: Path) -> None:
    report = _check_coco(folder, COCO, decode=True)
    assert report.errors == []
    assert report.notes == ["2 images, 3 boxes", "boxes of each class: cat 1, dog 2"]


def test_a_good_voc_set_has_no_errors(folder: Path) -> None:
    report = _check_voc(folder, decode=True)
    assert report.errors == []
    assert report.notes == ["2 images, 3 boxes", "boxes of each class: cat 1, dog 2"]


COCO_FAULTS: list[tuple[str, tuple[str | int, ...], Any, list[str]]] = [
    ("unknown class", ("annotations", 0, "category_id"), 7, ["annotation 1 (image 1)", "7"]),
    ("unknown image", ("annotations", 2, "image_id"), 77, ["annotation 3", "image_id 77"]),
    ("right of it", ("annotations", 0, "bbox"), [60, 2, 9, 9], ["annotation 1", "[60, 2, 9, 9]"]),
    ("left of it", ("annotations", 0, "bbox"), [-9, 2, 9, 9], ["outside", "60 x 40"]),
    ("below it", ("annotations", 0, "bbox"), [1, 40, 9, 9], ["annotation 1", "outside"]),
    ("above it", ("annotations", 0, "bbox"), [1, -9, 9, 9], ["annotation 1", "outside"]),
    ("three numbers", ("annotations", 1, "bbox"), [1, 2, 3], ["annotations[1] (id 2)", "four"]),
    ("not numbers", ("annotations", 1, "bbox"), [1, 2, 3, "x"], ["annotations[1] (id 2)", "four"]),
    (
        "not finite",
        ("annotations", 1, "bbox"),
        [1, 2, 3, float("nan")],
        ["annotations[1] (id 2)", "nan"],
    ),
    ("absent class", ("categories", 0, "name"), "cow", ["cat is none of cow, dog"]),
    ("no category", ("categories",), [], ["cat, dog are none of its 0 categories"]),
    (
        "other classes",
        ("categories",),
        [dict(id=place, name=f"c{place}") for place in range(30)],
        ["cat, dog are none of c0, c1", "c19 and 10 more."],
    ),
    (
        "other order",
        ("categories",),
        COCO["categories"][::-1],
        ["cat, dog", "dog, cat: cat for dog is"],
    ),
    (
        "category twice",
        ("categories",),
        [*COCO["categories"], dict(id=9, name="dog")],
        ["dog: None for dog is"],
    ),
    ("double image", ("images", 1, "id"), 1, ["image 1", "2 times"]),
    ("double annotation", ("annotations", 1, "id"), 1, ["annotation 1", "2 times"]),
    ("double category", ("categories", 1, "id"), 5, ["category 5", "2 times"]),
    ("no such file", ("images", 1, "file_name"), "c.jpg", ["image 2", "c.jpg", "missing"]),
    ("no width", ("images", 1, "width"), None, ["images[1] (id 2)", "width", "None"]),
    ("no list", ("images",), {}, ["'images'"]),
    ("no entry", ("images", 0), 3, ["images[0]", "everything"]),
]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [fault[1:] for fault in COCO_FAULTS],
    ids=[fault[0] for fault in COCO_FAULTS],
)
def test_coco_faults_are_named(
    folder: Path, place: tuple[str | int, ...], value: Any, words: list[str]
) -> None:
    content = copy.deepcopy(COCO)
    inner: Any = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    report = _check_coco(folder, content)
    assert any(all(word in error for word in words) for error in report.errors), report.errors
    assert all(error.startswith(str(folder / "train.json")) for error in report.errors)


def test_a_field_that_is_absent_is_named(folder: Path) -> None:
    content = copy.deepcopy(COCO)
    del content["annotations"][1]["area"]
    (error,) = _check_coco(folder, content).errors
    assert "annotations[1] (id 2)" in error and "lacks area" in error


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "[]"])
def test_broken_json_is_named(folder: Path, text: str) -> None:
    (error,) = _check_coco(folder, text).errors
    assert "train.json" in error and "Restore it" in error


def test_harmless_peculiarities_of_coco_are_counted(folder: Path) -> None:
    content = copy.deepcopy(COCO)
    content["annotations"][0]["bbox"] = [55, 30, 10, 20]  # partly beyond
    content["annotations"][1]["bbox"] = [5, 5, 0, 10]  # no width
    content["annotations"][2]["category_id"] = 11
    content["annotations"][2]["image_id"] = 1
    content["categories"].append({"id": 11, "name": "super"})
    report = _check_coco(folder, content)
    assert report.errors == []
    notes = " | ".join(report.notes)
    assert "1 boxes without area" in notes
    assert "1 boxes partly beyond" in notes
    assert "1 images without boxes (legal)" in notes
    assert "1 boxes of 'super', which is not a class of the config" in notes


def test_a_missing_annotation_file_or_folder_is_named(folder: Path) -> None:
    (error,) = check_coco(folder / "no.json", folder / "JPEGImages", CLASSES).errors
    assert "no.json is missing" in error and "KD_DATA" in error
    (folder / "train.json").write_text(json.dumps(COCO))
    (error,) = check_coco(folder / "train.json", folder / "Pictures", CLASSES).errors
    assert "Pictures is missing" in error
    errors = check_voc(folder / "x", folder / "no.txt", CLASSES).errors
    assert "no.txt is missing" in errors[0] and "Annotations is missing" in errors[1]


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


IMAGE_FAULTS = {
    "missing": (lambda file: file.unlink(), False, "is missing"),
    "empty": (lambda file: file.write_bytes(b""), False, "is empty"),
    "truncated": (_truncate, True, "cannot be decoded"),
    "not an image": (lambda file: file.write_bytes(b"hello" * 99), True, "cannot be decoded"),
    "other size": (lambda file: Image.new("RGB", (40, 60)).save(file), True, "60 x 40"),
}


@pytest.mark.parametrize("fault", IMAGE_FAULTS)
def test_image_faults_are_named_in_both_formats(folder: Path, fault: str) -> None:
    spoil, decode, word = IMAGE_FAULTS[fault]
    spoil(folder / "JPEGImages/b.jpg")
    for report in (_check_coco(folder, COCO, decode), _check_voc(folder, decode)):
        (error,) = report.errors
        assert "b.jpg" in error and word in error


@pytest.mark.parametrize(("orientation", "errors"), [(1, 0), (3, 0), (6, 1)])
def test_a_turned_image_has_the_size_that_mmdet_loads(
    folder: Path, orientation: int, errors: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (60, 40)).save(folder / "JPEGImages/b.jpg", exif=exif)
    assert len(_check_coco(folder, COCO, decode=True).errors) == errors


VOC_FAULTS: list[tuple[str, str, tuple[Any, ...], list[str]]] = [
    ("unknown class", "cow", (1, 1, 9, 9), ["image b, object 1", "'cow'"]),
    ("right of it", "cat", (61, 1, 70, 9), ["image b, object 1", "outside", "60 x 40"]),
    ("above it", "cat", (1, -9, 9, 1), ["image b, object 1", "outside"]),
    ("no number", "cat", (1, 1, "", 9), ["image b, object 1", "numbers"]),
    ("not finite", "cat", (1, 1, "inf", 9), ["image b, object 1", "inf"]),
]


@pytest.mark.parametrize(
    ("label", "box", "words"), [f[1:] for f in VOC_FAULTS], ids=[f[0] for f in VOC_FAULTS]
)
def test_voc_faults_are_named(
    folder: Path, label: str, box: tuple[Any, ...], words: list[str]
) -> None:
    _voc(folder, "b", [(label, box)])
    (error,) = _check_voc(folder).errors
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    ("text", "word"),
    [("<annotation>", "broken"), ("", "broken"), (None, "missing")],
)
def test_a_broken_or_missing_xml_is_named(folder: Path, text: str | None, word: str) -> None:
    file = folder / "Annotations/b.xml"
    file.unlink() if text is None else file.write_text(text)
    (error,) = _check_voc(folder).errors
    assert "b.xml" in error and word in error


@pytest.mark.parametrize(
    ("lines", "word"), [("a\nb\na\n", "image a: "), ("a\n\nb\n", "line 2"), ("a\nc\n", "image c")]
)
def test_faults_of_the_split_file_are_named(folder: Path, lines: str, word: str) -> None:
    (folder / "ImageSets/Main/train.txt").write_text(lines)
    (error,) = _check_voc(folder).errors
    assert word in error


def test_a_size_of_zero_is_named_and_no_size_is_legal(folder: Path) -> None:
    file = folder / "Annotations/b.xml"
    good = file.read_text()
    file.write_text(good.replace("<width>60<", "<width>0<"))
    (error,) = _check_voc(folder).errors
    assert "b.xml" in error and "'0'" in error
    file.write_text(good.replace(VOC_SIZE, ""))
    assert _check_voc(folder, decode=True).errors == []


def test_harmless_peculiarities_of_voc_are_counted(folder: Path) -> None:
    _voc(folder, "a", [("cat", (5, 5, 5, 9)), ("dog", (50, 30, 70, 50)), ("dog", (0, 1, 9, 9))])
    _voc(folder, "b", [])
    report = _check_voc(folder)
    assert report.errors == []
    notes = " | ".join(report.notes)
    assert "1 boxes without width or height" in notes
    assert "2 boxes partly beyond" in notes
    assert "1 images without boxes (legal)" in notes


def test_at_most_twenty_errors_are_listed() -> None:
    raise_on_errors(DataReport("x", notes=["fine"]))
    raise_on_errors([])
    reports = [DataReport("x", [f"fault {i}" for i in range(15)]) for _ in range(2)]
    with pytest.raises(ValueError, match=r"has 30 error\(s\)") as stop:
        raise_on_errors(reports)
    assert str(stop.value).count("fault") == 20
    assert "and 10 more" in str(stop.value)


def test_a_config_leads_to_its_files(folder: Path) -> None:
    (folder / "train.json").write_text(json.dumps(COCO))
    coco = {
        "type": "CocoDataset",
        "data_root": str(folder),
        "ann_file": "train.json",
        "data_prefix": {"img": "JPEGImages/"},
        "metainfo": {"classes": CLASSES},
    }
    voc = {
        "type": "VOCDataset",
        "data_root": str(folder.parent) + "/",
        "ann_file": f"{folder.name}/ImageSets/Main/train.txt",
        "data_prefix": {"sub_data_root": f"{folder.name}/"},
        "metainfo": {"classes": CLASSES},
    }
    both = {"type": "ConcatDataset", "datasets": [coco, voc]}
    balanced = {"type": "ClassBalancedDataset", "oversample_thr": 0.1, "dataset": both}
    reports = check_dataset_config({"type": "RepeatDataset", "times": 2, "dataset": balanced})
    assert [report.notes[0] for report in reports] == ["2 images, 3 boxes"] * 2
    assert [report.errors for report in reports] == [[], []]
    (folder / "JPEGImages/a.jpg").write_bytes(b"x")
    reports = check_dataset_config(both, decode=True)
    assert [len(report.errors) for report in reports] == [1, 1]


def test_default_classes_come_from_mmdet(folder: Path) -> None:
    _voc(folder, "b", [("sheep", (6, 6, 11, 11)), ("giraffe", (6, 6, 11, 11))])
    config = {"type": "VOCDataset", "ann_file": str(folder / "ImageSets/Main/train.txt")}
    config["data_prefix"] = {"sub_data_root": str(folder)}  # type: ignore[assignment]
    (error,) = check_dataset_config(config)[0].errors
    assert "'giraffe'" in error and "tvmonitor" in error


def test_types_that_cannot_be_checked_say_so() -> None:
    (report,) = check_dataset_config({"type": "OpenImagesDataset", "ann_file": "x.csv"})
    assert report.errors == [] and "not checked" in report.notes[0]
    with pytest.raises(ValueError, match="'KokoDataset'"):
        check_dataset_config({"type": "KokoDataset", "ann_file": "x.json"})


def test_classes_of_a_file(tmp_path: Path) -> None:
    names = tmp_path / "classes.txt"
    names.write_text("bolt\nnut\n")
    dataset = {"type": "mmdet.CocoDataset", "metainfo": {"classes": str(names)}}
    assert dataset_classes(dataset) == [("bolt", "nut")]
    names.write_bytes(b"\xef\xbb\xbfbolt\nnut\n")
    with pytest.raises(ValueError, match="classes.txt begins with a byte order mark"):
        dataset_classes(dataset)


def test_a_missing_comma_in_classes() -> None:
    dataset = {"type": "mmdet.CocoDataset", "metainfo": {"classes": "bolt"}}
    with pytest.raises(ValueError, match=r"'bolt' is neither\. A tuple of one .*\('bolt',\)"):
        dataset_classes(dataset)
