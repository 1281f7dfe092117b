"""Whatever an annotation file holds, the checks end in a report, and conversion in one error."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators

# isort: split
import mmdet.evaluation  # noqa: F401  here: it is slow to import
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO

from kd_det.checks.data import check_coco, check_voc, raise_on_errors
from kd_det.checks.evaluator import check_evaluators
from kd_engine.data.voc_to_coco import voc_to_coco

QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CLASSES = ("cat", "dog")
NUMBERS = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**31, 2**53 + 1, 2**63, 10**400, -(2**63) - 1, 1e308, -0.0]),
    st.floats(),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def _coco() -> dict[str, Any]:
    box = {"image_id": 1, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
        "annotations": [
            {"id": 1, "category_id": 1, **box},
            {"id": 2, "category_id": 2, **box},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


PLACES = [
    (key, index, field)
    for key, entries in _coco().items()
    for index, entry in enumerate(entries)
    for field in (*entry, "ignore", "segmentation")
]
LIKELY = st.one_of(st.integers(0, 3), st.sampled_from(["a.png", "cat", [1, 2, 10, 20]]), VALUES)
LISTS = {  # entries with every field, each of some value
    key: st.lists(st.one_of(VALUES, st.fixed_dictionaries(dict.fromkeys(entries[0], LIKELY))))
    for key, entries in _coco().items()
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    for name in ("a.png", "JPEGImages/a.jpg"):
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    (tmp_path / "train.txt").write_text("a\n")
    return tmp_path


def _require_report(folder: Path, content: bytes) -> None:
    """Check a COCO file; where the check finds nothing, mmdet's reader must read it."""
    file = folder / "coco.json"
    file.write_bytes(content)
    report = check_coco(file, folder, CLASSES, decode=True)
    assert all(error.startswith(str(file)) for error in report.errors)
    "\n".join([*report.errors, *report.warnings, *report.notes]).encode()
    if not report.errors:
        assert len(COCO(str(file)).imgs) == len(json.loads(content)["images"])
        return
    with pytest.raises(ValueError, match="the data has"):
        raise_on_errors(report)


@QUICK
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=4))
def test_coco_with_other_values(folder: Path, changes: list[tuple[Any, Any]]) -> None:
    content = _coco()
    for (key, index, field), value in changes:
        content[key][index][field] = value
    _require_report(folder, json.dumps(content).encode())


@QUICK
@given(st.fixed_dictionaries(LISTS, optional={"info": VALUES}))
def test_coco_of_any_entries(folder: Path, content: dict[str, Any]) -> None:
    _require_report(folder, json.dumps(content).encode())


@settings(QUICK, max_examples=50)
@given(
    st.one_of(VALUES, st.fixed_dictionaries({}, optional=LISTS)),
    st.sampled_from(["CocoMetric", "FasterCocoMetric"]),
)
def test_files_that_an_evaluator_scores(folder: Path, content: Any, metric: str) -> None:
    (folder / "val.json").write_text(json.dumps(_coco()))
    (folder / "scored.json").write_text(json.dumps(content))
    dataset = dict(
        type="CocoDataset",
        ann_file=str(folder / "val.json"),
        data_prefix=dict(img=str(folder)),
        metainfo=dict(classes=CLASSES),
    )
    evaluator = dict(type=metric, ann_file=str(folder / "scored.json"))
    config = Config(dict(val_dataloader=dict(dataset=dataset), val_evaluator=evaluator))
    (report,) = check_evaluators(config)
    assert report.errors or report.notes or content["images"]


@QUICK
@given(st.integers(0, 10**6), st.binary(max_size=6), st.integers(0, 9))
@example(0, b"\xef\xbb\xbf", 0)
@example(0, b"\xff\xfe", 0)
def test_coco_with_other_bytes(folder: Path, place: int, new: bytes, cut: int) -> None:
    content = json.dumps(_coco()).encode()
    place %= len(content)
    _require_report(folder, content[:place] + new + content[place + cut :])


BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox>"
VOC = (
    "<annotation><size><width>60</width><height>40</height></size>"
    f"<object><name>cat</name><difficult>0</difficult>{BOX}</object></annotation>"
)


def _elements(parts: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<{tag}>{body}</{tag}>" for tag, body in parts)


TAGS = "annotation size width height object name difficult bndbox xmin ymin xmax ymax part".split()
TEXTS = st.one_of(
    st.sampled_from(["", " 1 ", "cat", "1e400", "nan", "-1e30", "Unspecified", "9" * 5000]),
    st.integers(-9, 99).map(str),
    st.text(st.characters(exclude_characters="<&", exclude_categories=["Cs", "Cc"]), max_size=5),
)
TREES = st.recursive(
    TEXTS,
    lambda inner: st.lists(st.tuples(st.sampled_from(TAGS), inner), max_size=5).map(_elements),
    max_leaves=12,
)
OBJECTS = st.tuples(
    st.sampled_from(["cat", "dog", "", "cow"]),
    TEXTS,
    st.lists(TEXTS, min_size=4, max_size=4),
    TREES,
).map(
    lambda parts: _elements(
        [
            ("name", parts[0]),
            ("difficult", parts[1]),
            ("bndbox", _elements(zip(TAGS[7:11], parts[2], strict=True)) + parts[3]),
        ]
    )
)


def _require_both(folder: Path, content: bytes) -> None:
    """Check and convert a VOC set; where the check finds nothing, so must the conversion."""
    (folder / "Annotations/a.xml").write_bytes(content)
    report = check_voc(folder, folder / "train.txt", CLASSES, decode=True)
    assert all(error.startswith(str(folder / "train.txt")) for error in report.errors)
    "\n".join([*report.errors, *report.warnings, *report.notes]).encode()
    try:
        json.dumps(voc_to_coco(folder, folder / "train.txt", CLASSES))
    except (ValueError, FileNotFoundError) as error:
        name = "a.xml" if (folder / "train.txt").read_bytes() == b"a\n" else str(folder)
        assert name in str(error)
        assert report.errors or "COCO needs a size" in str(error)


@QUICK
@given(TREES, st.lists(OBJECTS, max_size=3))
def test_voc_of_any_tree(folder: Path, tree: str, objects: list[str]) -> None:
    body = tree + _elements([("object", one) for one in objects])
    _require_both(folder, f"<annotation>{body}</annotation>".encode())


@QUICK
@given(
    st.integers(0, 10**6),
    st.one_of(TREES.map(str.encode), st.binary(max_size=6)),
    st.integers(0, 20),
)
def test_voc_with_other_bytes(folder: Path, place: int, new: bytes, cut: int) -> None:
    content = VOC.encode()
    place %= len(content)
    _require_both(folder, content[:place] + new + content[place + cut :])


@QUICK
@given(
    st.one_of(
        st.binary(max_size=30),
        st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")),
    )
)
@example(b"\xef\xbb\xbfa\n")
@example(b"a\x00\n")
@example(b"../a\n")
def test_voc_lists_of_any_bytes(folder: Path, content: bytes) -> None:
    (folder / "train.txt").write_bytes(content)
    _require_both(folder, VOC.encode())
