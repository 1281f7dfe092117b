"""The built-in digits: splits, drawing, both annotation formats, reuse."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from numpy.random import RandomState
from PIL import Image
from sklearn.datasets import load_digits

from kd_engine.data.digits import DIGIT_CLASSES
from kdkit.demo.digit_scenes import SceneOptions, draw_scene
from kdkit.demo.digit_set import load_digit_splits, make_detection_set

SMALL = SceneOptions(size=96, max_digits=4, min_side=12, max_side=40)


def _hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _coco(root: Path, split: str) -> dict:
    return json.loads((root / f"annotations/instances_{split}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digits"
    assert make_detection_set(root, 60, 20, seed=3, scene=SMALL)
    return root


def test_splits_are_disjoint_cover_everything_and_keep_their_labels() -> None:
    splits = load_digit_splits(seed=1)
    rows = np.concatenate([split.rows for split in splits.values()])
    assert sorted(rows.tolist()) == list(range(1797))
    source = load_digits()
    for split in splits.values():
        assert split.images.dtype == np.float32
        assert np.array_equal(split.labels, source.target[split.rows])
        assert np.allclose(split.images * 16, source.images[split.rows])
    counts = np.bincount(splits["val"].labels)
    assert counts.min() >= 34 and counts.max() <= 37  # a fifth of 174 to 183 of each class


def test_splits_follow_the_seed() -> None:
    same, again, other = (load_digit_splits(seed)["train"].rows for seed in (0, 0, 1))
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other)


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        load_digit_splits(shares=(0.6, 0.6, 0.2))


def test_same_parameters_give_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    make_detection_set(tmp_path / "again", 60, 20, seed=3, scene=SMALL)
    assert _hashes(tmp_path / "again") == _hashes(digits)


def test_another_seed_gives_other_pictures(digits: Path, tmp_path: Path) -> None:
    make_detection_set(tmp_path / "other", 3, 1, seed=4, scene=SMALL)
    name = "JPEGImages/train_00001.jpg"
    assert (tmp_path / "other" / name).read_bytes() != (digits / name).read_bytes()


def test_train_and_val_show_different_source_digits(digits: Path) -> None:
    rows = [{a["source_row"] for a in _coco(digits, s)["annotations"]} for s in ("train", "val")]
    assert rows[0] and rows[1]
    assert not rows[0] & rows[1]


def test_categories_agree_with_the_source_labels(digits: Path) -> None:
    coco, labels = _coco(digits, "train"), load_digits().target
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert [names[i] for i in sorted(names)] == list(DIGIT_CLASSES)
    for annotation in coco["annotations"]:
        assert names[annotation["category_id"]] == str(labels[annotation["source_row"]])


@pytest.mark.parametrize("split", ["train", "val"])
def test_voc_and_coco_say_the_same(digits: Path, split: str) -> None:
    coco = _coco(digits, split)
    names = {category["id"]: category["name"] for category in coco["categories"]}
    listed = (digits / f"ImageSets/Main/{split}.txt").read_text(encoding="utf-8").split()
    assert [Path(image["file_name"]).stem for image in coco["images"]] == listed
    for image, stem in zip(coco["images"], listed, strict=True):
        with Image.open(digits / "JPEGImages" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
        tree = ET.parse(digits / f"Annotations/{stem}.xml")
        assert int(tree.findtext("size/width", "")) == image["width"]
        boxes = []
        for entry in tree.iter("object"):
            x0, y0, x1, y1 = (
                int(entry.findtext(f"bndbox/{k}", "")) for k in ("xmin", "ymin", "xmax", "ymax")
            )
            boxes.append((entry.findtext("name"), [x0 - 1, y0 - 1, x1 - x0, y1 - y0]))
            assert 1 <= x0 < x1 <= image["width"] and 1 <= y0 < y1 <= image["height"]
        expected = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        assert boxes == [(names[a["category_id"]], a["bbox"]) for a in expected]


def test_boxes_have_the_wanted_sizes_and_some_are_covered(digits: Path) -> None:
    annotations = _coco(digits, "train")["annotations"]
    sides = [max(annotation["bbox"][2:]) for annotation in annotations]
    assert min(sides) >= 12 and max(sides) <= 40 and len(set(sides)) > 10
    covered = sum(annotation["occluded"] for annotation in annotations)
    assert 0.05 < covered / len(annotations) < 0.4


def test_the_box_encloses_ink_that_differs_from_its_surroundings() -> None:
    digit = np.zeros((1, 8, 8), dtype=np.float32)
    digit[0, 1:7, 2:6] = 1.0
    options = SceneOptions(96, 1, 30, 40, occlusion=0.0)
    for seed in range(20):
        picture, placed = draw_scene(digit, RandomState(seed), options)
        if not placed:
            continue
        x, y, width, height = placed[0].box
        pixels = np.asarray(picture, dtype=float)
        inside = pixels[y + height // 3 : y + 2 * height // 3, x + width // 3 : x + 2 * width // 3]
        frame = np.asarray(picture.crop((x - 4, y - 4, x + width + 4, y + height + 4)), dtype=float)
        border = np.concatenate([frame[:3].reshape(-1, 3), frame[-3:].reshape(-1, 3)])
        assert np.abs(inside.mean((0, 1)) - border.mean(0)).max() > 20, seed


def test_a_finished_set_is_reused(tmp_path: Path) -> None:
    root = tmp_path / "digits"
    assert make_detection_set(root, 2, 1, scene=SMALL)
    before = (root / "digits.json").stat().st_mtime_ns
    assert not make_detection_set(root, 2, 1, scene=SMALL)
    assert (root / "digits.json").stat().st_mtime_ns == before


def test_a_set_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "digits"
    make_detection_set(root, 2, 1, scene=SMALL)
    (root / "JPEGImages/train_00002.jpg").unlink()
    assert make_detection_set(root, 2, 1, scene=SMALL)
    assert (root / "JPEGImages/train_00002.jpg").is_file()


def test_other_parameters_are_named_and_need_overwrite(tmp_path: Path) -> None:
    root = tmp_path / "digits"
    make_detection_set(root, 2, 1, scene=SMALL)
    with pytest.raises(ValueError, match=r"seed 0 -> 5.*--overwrite"):
        make_detection_set(root, 2, 1, seed=5, scene=SMALL)
    assert make_detection_set(root, 2, 1, seed=5, scene=SMALL, overwrite=True)
    assert json.loads((root / "digits.json").read_text(encoding="utf-8"))["seed"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"not made by this tool"):
        make_detection_set(tmp_path, 2, 1, scene=SMALL, overwrite=overwrite)
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_in_a_set_that_would_be_made_again_stay(
    tmp_path: Path, overwrite: bool
) -> None:
    root = tmp_path / "digits"
    make_detection_set(root, 2, 1, scene=SMALL)
    (root / "JPEGImages/mine.jpg").write_text("mine", encoding="utf-8")
    assert not make_detection_set(root, 2, 1, scene=SMALL)
    (root / "JPEGImages/train_00002.jpg").unlink()
    with pytest.raises(FileExistsError, match=r"holds files .* JPEGImages/mine\.jpg"):
        make_detection_set(root, 2, 1, seed=5 * overwrite, scene=SMALL, overwrite=overwrite)
    assert (root / "JPEGImages/mine.jpg").read_text(encoding="utf-8") == "mine"


def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kdkit.demo.digit_set.draw_scene", fail)
    with pytest.raises(KeyboardInterrupt):
        make_detection_set(tmp_path / "digits", 2, 1, scene=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed = tmp_path / f".digits.{'a' * 16}.tmp"
    (killed / "content/JPEGImages").mkdir(parents=True)
    (killed / "lock").touch()
    make_detection_set(tmp_path / "digits", 1, 1, scene=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert f"removed {killed}: a killed run had left it" in caplog.text


@pytest.mark.parametrize("text", ["", "[", "[1]", "3", "[" * 100_000, "\ufeff{}"])
def test_parameters_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "digits.json").write_text(text, "utf-8")
    with pytest.raises(FileExistsError, match=r"digits\.json must hold the parameters"):
        make_detection_set(tmp_path, 1, 1, scene=SMALL)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_digits": 0}, "max_digits"),
        ({"min_side": 70}, "min_side"),
        ({"size": 40}, "size"),
        ({"occlusion": 1.5}, "occlusion"),
    ],
)
def test_impossible_scenes_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneOptions(**values)


def test_counts_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make_detection_set(tmp_path / "digits", 0, 1)
