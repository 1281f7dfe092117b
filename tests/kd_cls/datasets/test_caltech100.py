"""Caltech100, divided within each class; and the real one where it is."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd_cls.datasets import Caltech100

REAL = Path(os.environ.get("KD_DATA") or "data") / "caltech100"
SPLITS = ("train", "val", "trainval", "test")


@pytest.fixture
def root(tmp_path, draw, write_lines):
    """Four classes of 10 images, two in each list."""
    for part, names in (("train", ("bee", "ant")), ("test", ("cow", "dog"))):
        lines = []
        for label, name in enumerate(names):
            for number in range(10):
                draw(tmp_path / f"images/{name}/{number}.png")
                lines.append(f"images/{name}/{number}.png {label}")
        write_lines(tmp_path / f"retrieval_{part}.txt", *lines)
    return tmp_path


def test_every_class_is_divided(root):
    data = {split: Caltech100(str(root), split, check_counts=False) for split in SPLITS}
    for split, each in zip(SPLITS, (6, 2, 8, 2), strict=True):
        assert data[split].class_names == ("ant", "bee", "cow", "dog")
        assert np.bincount(data[split].labels).tolist() == [each] * 4
        for row in range(0, len(data[split]), 3):
            name = data[split].images.name(row)
            assert name.split("/")[1] == data[split].class_names[data[split].labels[row]]
    assert sorted([*data["train"].ids, *data["val"].ids, *data["test"].ids]) == list(range(40))
    again = Caltech100(str(root), "test", check_counts=False)
    assert np.array_equal(again.ids, data["test"].ids)


def test_the_split_does_not_depend_on_the_lists_order(root):
    before = Caltech100(str(root), "test", check_counts=False)
    path = root / "retrieval_train.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    after = Caltech100(str(root), "test", check_counts=False)
    assert np.array_equal(before.images.paths, after.images.paths)


def test_incomplete_or_repeated_images_are_named(root, write_lines):
    with pytest.raises(ValueError, match="must have 5,233 images, but there are 40"):
        Caltech100(str(root))
    write_lines(root / "retrieval_test.txt", "images/ant/0.png 0")
    with pytest.raises(ValueError, match=r"must not name images/ant/0.png twice"):
        Caltech100(str(root), check_counts=False)
    (root / "retrieval_test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"retrieval_test.txt is missing"):
        Caltech100(str(root), check_counts=False)


def test_images_are_decoded_once(root):
    image = root / "images/bee/0.png"
    halves = np.zeros((20, 12, 3), np.uint8)
    halves[10:] = (200, 100, 50)  # the lower half
    Image.fromarray(halves).save(image)
    options = dict(split="trainval", check_counts=False)
    from_files = Caltech100(str(root), **options)
    data = Caltech100(str(root), in_memory=[4, 6], **options)
    assert np.array_equal(data.ids, from_files.ids)
    assert np.array_equal(data.labels, from_files.labels)
    (row,) = (row for row in range(len(data)) if from_files.images.name(row) == "images/bee/0.png")
    for path in root.glob("images/*/*.png"):
        path.unlink()
    assert data.images.pixels.nbytes == len(data) * 4 * 6 * 3
    assert {tuple(data[row]["inputs"].shape) for row in range(len(data))} == {(3, 4, 6)}
    lower = np.asarray(data.read(row))
    assert lower.shape == (4, 6, 3)
    assert (lower[0] == 0).all() and (lower[3] == (200, 100, 50)).all()


def test_what_is_decoded_is_shared_until_a_file_changes(root):
    options = dict(split="trainval", check_counts=False, in_memory=(4, 6))
    first, second = (Caltech100(str(root), **options).images.pixels for _ in range(2))
    assert first is second
    image = next(root.glob("images/bee/*.png"))
    Image.fromarray(np.full((9, 9, 3), 77, np.uint8)).save(image)
    os.utime(image, ns=(0, 1))
    third = Caltech100(str(root), **options).images.pixels
    assert third is not first and (third == 77).all(axis=(1, 2, 3)).sum() == 1
    assert not (first == 77).all(axis=(1, 2, 3)).any()


def test_a_broken_image_is_named_when_it_is_decoded(root):
    options = dict(split="val", check_counts=False)
    broken = Caltech100(str(root), **options).images.name(3)
    (root / broken).write_bytes(b"no image")
    assert len(Caltech100(str(root), **options)) == 8  # decoded each time: not yet
    with pytest.raises(ValueError, match=f"{broken} cannot be decoded"):
        Caltech100(str(root), in_memory=(4, 4), **options)


@pytest.mark.skipif(not REAL.is_dir(), reason="caltech100 is not in the folder KD_DATA")
def test_real_images():
    data = {split: Caltech100(str(REAL), split) for split in SPLITS}
    assert {split: len(one) for split, one in data.items()} == dict(
        train=3135, val=1052, trainval=4187, test=1046
    )
    assert np.bincount(data["test"].labels).min() >= 6
    assert data["test"].read(0).mode == "RGB"
