"""Caltech100 and Omniglot: small replicas, and the real ones where KD_DATA has them."""

import os
from pathlib import Path

import pytest

from kd_retrieval.datasets import Caltech100, Omniglot

COUNTS = {
    "caltech100": dict(train=(2176, 40), val=(486, 10), trainval=(2662, 50), test=(2571, 50)),
    "omniglot": dict(train=(2180, 109), val=(540, 27), trainval=(2720, 136), test=(2120, 106)),
}


@pytest.fixture
def root(tmp_path, draw, write_lines):
    """4 + 3 classes of 2 images, the first of one alone."""
    for name, classes in (("train", "abcd"), ("test", ("é f", "g", "h"))):
        lines = []
        for label, folder in enumerate(classes):
            for number in range(1 if folder == "a" else 2):
                path = f"images/Korean/{folder}/{number} .png"
                draw(tmp_path / path, mode="1")
                lines.append(f"{path} {label}")
        write_lines(tmp_path / f"retrieval_{name}.txt", *lines, end="\r\n")
    return tmp_path


def test_the_two_lists(root, check_splits):
    data = check_splits(lambda split: Caltech100(str(root), split, check_counts=False))
    assert data["trainval"].class_names == ("a", "b", "c", "d")
    assert data["val"].class_names == ("c", "d")
    assert data["test"].class_names == ("é f", "g", "h")
    assert data["test"].ids.tolist() == [7, 8, 9, 10, 11, 12]  # after the seven to train on
    assert data["test"].paths[0] == "images/Korean/é f/0 .png"


def test_a_character_is_named_by_its_alphabet_too(root):
    data = Omniglot(str(root), "test", check_counts=False)
    assert data.class_names == ("Korean/é f", "Korean/g", "Korean/h")
    assert data[0]["inputs"].unique().tolist() == [255]  # 1 bit, white


def test_the_counts_are_required(root):
    with pytest.raises(ValueError, match="Caltech100 must have 2,662 .* 7 of 4"):
        Caltech100(str(root))
    with pytest.raises(ValueError, match="Omniglot must have 2,120 .* 6 of 3"):
        Omniglot(str(root), "test")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x/a/0.png"], "line 7, must be 'path label'"),
        (["x/a/0.png three"], "line 7, must have a whole number, but has 'three'"),
        (["x/g/0.png 1"], None),
        (["x/i/0.png 4"], "labels of .* must be 0 to 3 without a gap"),
        (["x/h/0.png 1"], "line 7, gives 1 to h and an earlier line to g"),
        (["x/h/0.png 3"], "gives labels 2 and 3 to h"),
        (["x/a/0.png 3"], r"both lists of .* have a \(1 in all\)"),
        (["images/Korean/g/0 .png 1"], r"retrieval_test\.txt lists images/Korean/g/0 \.png twice"),
    ],
)
def test_a_broken_list_is_named(root, lines, message):
    with (root / "retrieval_test.txt").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    if message is None:
        assert len(Caltech100(str(root), "test", check_counts=False)) == 7
        return
    with pytest.raises(ValueError, match=message):
        Caltech100(str(root), check_counts=False)


def test_a_missing_list_is_named(root):
    (root / "retrieval_test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"retrieval_test\.txt is missing"):
        Caltech100(str(root), check_counts=False)


@pytest.mark.parametrize("kind", [Caltech100, Omniglot])
def test_the_real_set(kind, check_splits):
    name = kind.__name__.lower()
    root = Path(os.environ.get("KD_DATA") or "data") / name
    if not root.is_dir():
        pytest.skip(f"{root} is not there; set KD_DATA to the folder that holds {name}")
    data = check_splits(lambda split: kind(str(root), split))
    found = {split: (len(one), len(one.class_names)) for split, one in data.items()}
    assert found == COUNTS[name]
    for one in (data["trainval"], data["test"]):
        assert all((root / path).is_file() for path in one.paths)
        for index in range(0, len(one), 97):
            assert one[index]["inputs"].shape[0] == 3
