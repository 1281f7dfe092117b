"""VOC folders: what the check says, and what mmdet's loading does, are the same."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators

# isort: split
import pytest
from mmdet.datasets import XMLDataset
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from PIL import Image

from kd_det.checks.data import check_dataset_config

XML = (
    "<annotation><size><width>60</width><height>40</height></size>"
    "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin>"
    "<xmax>12</xmax><ymax>23</ymax></bndbox></object></annotation>"
)
OWNED = XML.replace("<size>", "<owner>é</owner><size>")
PART = "<part><name>head</name><bndbox><xmin>no</xmin></bndbox></part>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (60, 40), (90, 10, 200)).save(tmp_path / f"JPEGImages/{name}.jpg")
        (tmp_path / f"Annotations/{name}.xml").write_text(XML)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\n")
    return tmp_path


def _config(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "type": "VOCDataset",
        "data_root": str(root),
        "ann_file": "ImageSets/Main/train.txt",
        "data_prefix": dict(sub_data_root=""),
        "metainfo": dict(classes=("cat", "dog")),
        "pipeline": [
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackDetInputs", meta_keys=("img_id",)),
        ],
        **changes,
    }


def _boxes(config: dict[str, Any]) -> list[tuple[int, list[float]]]:
    """Load the images and boxes as training does; the number of ignored boxes of each too."""
    register_all_modules()
    dataset = DATASETS.build(copy.deepcopy(config))
    samples = [dataset[i]["data_samples"] for i in range(len(dataset))]
    return [
        (len(one.ignored_instances), one.gt_instances.bboxes.tensor.flatten().tolist())
        for one in samples
    ]


def _xml(old: str, new: str) -> Callable[[Path], None]:
    return lambda root: (root / "Annotations/b.xml").write_text(XML.replace(old, new)) and None


def _raw(content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / "Annotations/b.xml").write_bytes(content) and None


def _list(content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / "ImageSets/Main/train.txt").write_bytes(content) and None


def _png_called_jpg(root: Path) -> None:
    Image.new("RGB", (60, 40)).save(root / "JPEGImages/b.jpg", format="PNG")


SIZE = "<size><width>60</width><height>40</height></size>"
READ_RIGHT: dict[str, Callable[[Path], None]] = {
    "good": lambda root: None,
    "no_size": _xml(SIZE, ""),
    "no_difficult": _xml("<difficult>0</difficult>", ""),
    "parts": _xml("<name>cat</name>", f"{PART}<name>cat</name>{PART}"),
    "numbers_with_decimals": _xml("<xmax>12<", "<xmax> 12.7 <"),
    "byte_order_mark": _raw(XML.encode("utf-8-sig")),
    "utf_16": _raw(f'<?xml version="1.0" encoding="UTF-16"?>{XML}'.encode("utf-16")),
    "utf_16_without_mark": _raw(XML.encode("utf-16-le")),
    "latin_1": _raw(f'<?xml version="1.0" encoding="latin-1"?>{OWNED}'.encode("latin-1")),
    "document_type": _xml("<annotation>", "<!DOCTYPE annotation><annotation>"),
    "windows_list": _list(b"a\r\nb\r\n"),
    "list_without_last_newline": _list(b"a\nb"),
    "png_called_jpg": _png_called_jpg,
}


@pytest.mark.parametrize("name", READ_RIGHT)
def test_what_the_check_passes_is_loaded(root: Path, name: str) -> None:
    READ_RIGHT[name](root)
    config = _config(root)
    (report,) = check_dataset_config(config, decode=True)
    assert report.errors == []
    assert _boxes(config) == [(0, [1, 2, 11, 22])] * 2


def test_difficult_objects_are_ignored(root: Path) -> None:
    _xml("<difficult>0<", "<difficult>2<")(root)
    config = _config(root)
    (report,) = check_dataset_config(config)
    assert report.errors == [] and any("1 difficult boxes" in note for note in report.notes)
    assert _boxes(config) == [(0, [1, 2, 11, 22]), (1, [])]


def _suffix(name: str) -> Callable[[Path], None]:
    return lambda root: (root / "JPEGImages/b.jpg").rename(root / f"JPEGImages/{name}") and None


BOMB = '<!DOCTYPE a [<!ENTITY a "cat"><!ENTITY b "&a;&a;">]>'
# Each ends a run of mmdet in a raw error, or loads something else than the file seems to hold.
REFUSED: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "difficult_unspecified": (
        _xml("<difficult>0<", "<difficult>Unspecified<"),
        ["image b, object 1", "difficult", "'Unspecified'", "Write 0"],
    ),
    "difficult_true": (_xml("<difficult>0<", "<difficult>true<"), ["object 1", "'true'"]),
    "difficult_empty": (_xml("<difficult>0</difficult>", "<difficult/>"), ["object 1", "''"]),
    "capital_suffix": (_suffix("b.JPG"), ["image b", "b.jpg is missing", "b.JPG is there"]),
    "png": (_suffix("b.png"), ["image b", "b.png is there", "Rename"]),
    "list_with_mark": (_list(b"\xef\xbb\xbfa\nb\n"), ["train.txt", "byte order mark"]),
    "list_in_utf_16": (_list("a\nb\n".encode("utf-16")), ["train.txt", "UTF-8"]),
    "list_in_latin_1": (_list("é\n".encode("latin-1")), ["train.txt", "UTF-8"]),
    "list_with_suffixes": (_list(b"a.jpg\nb.jpg\n"), ["a.jpg.xml is missing", "such as 'a'"]),
    "list_with_columns": (_list(b"a 1\nb -1\n"), ["a 1.xml is missing", "such as 'a'"]),
    "no_corner": (_xml("<xmin>2</xmin>", ""), ["object 1", "bndbox", "''"]),
    "no_box": (_xml("bndbox>", "box>"), ["object 1", "bndbox", "''"]),
    "corner_in_words": (_xml("<xmin>2<", "<xmin>two<"), ["object 1", "'two'"]),
    "infinite_corner": (_xml("<xmax>12<", "<xmax>1e400<"), ["object 1", "'1e400'"]),
    "width_in_words": (_xml("<width>60<", "<width>wide<"), ["b.xml", "'wide'"]),
    "no_height": (_xml("<height>40</height>", ""), ["b.xml", "''"]),
    "no_name": (_xml("<name>cat</name>", ""), ["object 1", "class", "''"]),
    "unknown_encoding": (
        _raw(f'<?xml version="1.0" encoding="xyz"?>{XML}'.encode()), ["b.xml", "unknown encoding"]
    ),
    "latin_1_undeclared": (_raw(OWNED.encode("latin-1")), ["broken"]),
    "undefined_entity": (_xml("cat", "&cat;"), ["b.xml", "undefined entity"]),
    "json": (_raw(b"{}"), ["b.xml", "must be XML"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_check_refuses_would_fail(root: Path, name: str) -> None:
    change, words = REFUSED[name]
    change(root)
    config = _config(root)
    (report,) = check_dataset_config(config)
    assert report.errors and all(word in report.errors[0] for word in words), report.errors
    assert all(error.startswith(str(root / config["ann_file"])) for error in report.errors)
    with pytest.raises(Exception):  # noqa: B017  whatever mmdet meets
        _boxes(config)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_raw(BOMB.encode() + XML.replace("cat", "&b;").encode()), ["b.xml", "entities"]),
        (_raw(BOMB.encode("utf-16") + XML.encode("utf-16-le")), ["b.xml", "entities"]),
        (_xml("<xmax>12<", "<xmax>1e30<"), ["object 1", "2^31"]),
        (_xml("<width>60<", f"<width>{'9' * 5000}<"), ["b.xml", "size"]),
        (_list(b"a\n\nb\n"), ["line 2", "empty"]),
        (_list(b"a\x00\n"), ["broken", "null"]),
        (_list(b"x" * 5000), ["broken", "too long"]),
        (lambda root: shutil.rmtree(root / "Annotations"), ["Annotations is missing"]),
        (lambda root: (root / "Annotations/b.xml").unlink() or (root / "Annotations/b.xml").mkdir(),
         ["b.xml", "directory"]),
    ],
    ids="bomb bomb_in_utf_16 huge 5000_digits blank null long none folder".split(),
)  # fmt: skip
def test_hostile_files_are_named(
    root: Path, change: Callable[[Path], None], words: list[str]
) -> None:
    change(root)
    (report,) = check_dataset_config(_config(root))
    assert report.errors and all(word in report.errors[0] for word in words), report.errors


class ScansDataset(XMLDataset):
    """A reader with folders of its own."""

    METAINFO: ClassVar[dict[str, Any]] = {"classes": ("cat", "dog")}

    def __init__(self, img_subdir: str = "scans", **kwargs: Any) -> None:
        super().__init__(img_subdir=img_subdir, **kwargs)


@pytest.mark.parametrize(
    ("changes", "folders"),
    [
        (dict(img_subdir="pictures", ann_subdir="boxes"), ("pictures", "boxes")),
        (dict(img_subdir="deep/pictures", ann_subdir="."), ("deep/pictures", ".")),
        (dict(type=ScansDataset), ("scans", "Annotations")),
        (dict(type=ScansDataset, img_subdir="pictures"), ("pictures", "Annotations")),
    ],
)
def test_folders_of_other_names(
    root: Path, changes: dict[str, Any], folders: tuple[str, str]
) -> None:
    for old, new in zip(("JPEGImages", "Annotations"), folders, strict=True):
        (root / new).mkdir(parents=True, exist_ok=True)
        for file in sorted((root / old).iterdir()):
            file.rename(root / new / file.name)
    config = _config(root, **changes)
    (report,) = check_dataset_config(config)
    assert report.errors == []
    assert _boxes(config) == [(0, [1, 2, 11, 22])] * 2


def test_without_the_folder_of_the_set_mmdet_looks_where_it_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(root, data_prefix=dict(img="JPEGImages"))
    (report,) = check_dataset_config(config)
    assert "data_prefix must have 'sub_data_root'" in report.errors[0]
    with pytest.raises(FileNotFoundError):
        _boxes(config)
    monkeypatch.chdir(root)
    (report,) = check_dataset_config(config)
    assert report.errors == []
    assert _boxes(config) == [(0, [1, 2, 11, 22])] * 2
