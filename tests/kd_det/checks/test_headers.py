"""Orientation tags, sizes and depths of images, judged by what mmdet's own loader makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

import kd_det.checks.headers as module
from kd_det.annotations.image_header import ImageLoading, loading_of, read_header
from kd_det.checks.data import DataReport, check_dataset_config

IGNORE = dict(color_type="color_ignore_orientation")
SIDEWAYS = (5, 6, 7, 8)


def _photo(path: Path, orientation: int | None, size: tuple[int, int] = (60, 40)) -> Path:
    """Write an image whose left quarter, as stored, is white."""
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), (0, 0, size[0] // 4, size[1]))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


@pytest.fixture
def check(tmp_path: Path) -> Any:
    """Check a COCO set of the files with these annotated sizes through a config."""

    def run(sizes: dict[str, tuple[int, int]], decode: bool = False, **loading: Any) -> DataReport:
        images, annotations = [], []
        for number, (name, (width, height)) in enumerate(sizes.items(), start=1):
            images.append(dict(id=number, file_name=name, width=width, height=height))
            annotations.append(
                dict(id=number, image_id=number, category_id=1, bbox=[1, 2, 9, 9], area=81,
                     iscrowd=0)
            )  # fmt: skip
        content = dict(
            images=images, annotations=annotations, categories=[dict(id=1, name="thing")]
        )
        (tmp_path / "set.json").write_text(json.dumps(content))
        config = dict(
            type="CocoDataset",
            data_root=str(tmp_path),
            ann_file="set.json",
            data_prefix=dict(img=""),
            metainfo=dict(classes=("thing",)),
            pipeline=[dict(type="LoadImageFromFile", **loading)],
        )
        (report,) = check_dataset_config(config, decode)
        return report

    return run


@pytest.mark.parametrize("loading", [{}, IGNORE, dict(imdecode_backend="pillow")])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_the_expected_size_is_that_of_mmdets_loader(
    tmp_path: Path, check: Any, kind: str, orientation: int | None, loading: dict[str, str]
) -> None:
    file = _photo(tmp_path / f"a.{kind}", orientation)
    loaded = LoadImageFromFile(**loading).transform(dict(img_path=str(file)))["img_shape"][::-1]
    assert check({file.name: loaded}, **loading).errors == []
    assert len(check({file.name: loaded[::-1]}, **loading).errors) == 1


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("orientation", SIDEWAYS)
def test_stored_sizes_of_turned_photos_are_one_error_with_both_remedies(
    tmp_path: Path, check: Any, orientation: int, decode: bool
) -> None:
    for name in "abc":
        _photo(tmp_path / f"{name}.jpg", orientation)
    _photo(tmp_path / "d.jpg", None)
    sizes = dict.fromkeys(("a.jpg", "b.jpg", "c.jpg", "d.jpg"), (60, 40))
    (error,) = check(sizes, decode).errors
    assert "in 3 of 4 images width and height are exchanged" in error
    assert f"stored as 60 x 40 with EXIF orientation {orientation}, annotated as 60 x 40" in error
    assert "loaded as 40 x 60" in error
    assert "color_type='color_ignore_orientation'" in error and "exchange width" in error


@pytest.mark.parametrize("decode", [False, True])
def test_the_remedies_work(tmp_path: Path, check: Any, decode: bool) -> None:
    _photo(tmp_path / "a.jpg", 6)
    ignored = check({"a.jpg": (60, 40)}, decode, **IGNORE)
    exchanged = check({"a.jpg": (40, 60)}, decode)
    _photo(tmp_path / "a.jpg", None)
    stripped = check({"a.jpg": (60, 40)}, decode)
    for report in (ignored, exchanged, stripped):
        assert report.errors == [] and report.warnings == []


def test_pillow_asks_xmp_and_opencv_does_not(tmp_path: Path, check: Any) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", xmp=xmp)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get(0x0112) == 6
    loaded = LoadImageFromFile().transform(dict(img_path=str(tmp_path / "a.jpg")))["img_shape"]
    assert loaded == (40, 60)
    report = check({"a.jpg": (60, 40)})
    assert report.errors == report.warnings == []


def test_upright_boxes_with_a_loader_that_does_not_turn(tmp_path: Path, check: Any) -> None:
    _photo(tmp_path / "a.jpg", 6)
    (error,) = check({"a.jpg": (40, 60)}, **IGNORE).errors
    assert "loaded as 60 x 40" in error and "at their defaults" in error


def test_turns_that_no_size_tells_are_a_warning(tmp_path: Path, check: Any) -> None:
    _photo(tmp_path / "a.jpg", 3)
    _photo(tmp_path / "square.jpg", 6, (50, 50))
    sizes = {"a.jpg": (60, 40), "square.jpg": (50, 50)}
    (warning,) = check(sizes).warnings
    assert "2 of 2 images have an EXIF tag" in warning and "a.jpg" in warning
    assert check(sizes, **IGNORE).warnings == []
    _photo(tmp_path / "b.jpg", 6)  # annotated upright: so are the others
    report = check({**sizes, "b.jpg": (40, 60)})
    assert report.errors == [] and report.warnings == []


@pytest.mark.parametrize("decode", [False, True])
def test_another_size_is_named_for_each_image(tmp_path: Path, check: Any, decode: bool) -> None:
    _photo(tmp_path / "a.jpg", None, (30, 20))
    (error,) = check({"a.jpg": (60, 40)}, decode).errors
    assert "image 1" in error and "60 x 40, but it is loaded as 30 x 20" in error


def test_of_many_images_a_sample_is_looked_at(
    tmp_path: Path, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAMPLE", 10)
    for number in range(30):
        _photo(tmp_path / f"{number}.jpg", 6)
    sizes = {f"{number}.jpg": (60, 40) for number in range(30)}
    (error,) = check(sizes).errors
    assert "in 10 of 10 images looked at (of 30)" in error
    (error,) = check(sizes, decode=True).errors
    assert "in 30 of 30 images width" in error


def _deep(path: Path, highest: int, channels: int = 1) -> None:
    shape = (40, 60) if channels == 1 else (40, 60, 3)
    values = np.linspace(0, highest, int(np.prod(shape))).reshape(shape).astype(np.uint16)
    assert cv2.imwrite(str(path), values)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(
    ("highest", "errors", "warnings"),
    [(1023, 1, 0), (4095, 1, 0), (4096, 0, 1), (16383, 0, 1), (16384, 0, 0), (65535, 0, 0)],
)
def test_few_bits_in_images_of_16_bits(
    tmp_path: Path, check: Any, highest: int, errors: int, warnings: int, kind: str, channels: int
) -> None:
    file = tmp_path / f"a.{kind}"
    _deep(file, highest, channels)
    report = check({file.name: (60, 40)})
    assert (len(report.errors), len(report.warnings)) == (errors, warnings)
    loaded = LoadImageFromFile().transform(dict(img_path=str(file)))["img"]
    assert highest // 256 <= loaded.max() <= highest // 256 + 1  # of color in TIFF it rounds
    for text in report.errors + report.warnings:
        assert f"highest value in 1 of them is {highest}" in text
        assert f"they become 0 to {loaded.max()} of 255" in text
    assert any("16 bits" in note for note in report.notes) == (not errors and not warnings)


def test_the_brightest_image_decides(tmp_path: Path, check: Any) -> None:
    for number in range(20):
        _deep(tmp_path / f"{number}.png", 65535 if number == 19 else 100)
    report = check({f"{number}.png": (60, 40) for number in range(20)})
    assert report.errors == report.warnings == []


def test_pillow_cuts_gray_values_off(tmp_path: Path, check: Any) -> None:
    _deep(tmp_path / "a.png", 65535)
    (error,) = check({"a.png": (60, 40)}, imdecode_backend="pillow").errors
    assert "cuts gray values off at 255" in error
    assert check({"a.png": (60, 40)}, color_type="unchanged").errors == []


def test_images_of_8_bits_are_not_looked_into(tmp_path: Path, check: Any) -> None:
    Image.new("L", (60, 40), 3).save(tmp_path / "a.png")
    Image.new("RGBA", (60, 40)).save(tmp_path / "b.png")
    report = check({"a.png": (60, 40), "b.png": (60, 40)})
    assert report.errors == report.warnings == []
    assert not any("16 bits" in note for note in report.notes)


def test_floating_point_is_an_error(tmp_path: Path, check: Any) -> None:
    Image.fromarray(np.ones((40, 60), dtype=np.float32)).save(tmp_path / "a.tif")
    (error,) = check({"a.tif": (60, 40)}).errors
    assert "have 32, and mmdet does not load them" in error
    with pytest.raises(AssertionError, match="failed to load"):
        LoadImageFromFile().transform(dict(img_path=str(tmp_path / "a.tif")))


def test_how_a_pipeline_loads() -> None:
    assert loading_of(None) == loading_of([dict(type="LoadAnnotations")]) == ImageLoading()
    assert loading_of([dict(type="mmdet.LoadImageFromFile", **IGNORE)]) == ImageLoading(
        "color_ignore_orientation"
    )
    assert not loading_of([dict(type=LoadImageFromFile, **IGNORE)]).turns
    assert not ImageLoading(backend="turbojpeg").turns


def test_a_header_that_is_none(tmp_path: Path) -> None:
    from kd_det.checks.report import ImageEntry

    (tmp_path / "a.jpg").write_bytes(b"hello" * 99)
    assert read_header(ImageEntry("image 1", str(tmp_path / "a.jpg"), 1, 1)) is None
