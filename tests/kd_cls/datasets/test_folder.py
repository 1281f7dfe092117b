"""Folders with a sub-folder for each class."""

import shutil

import numpy as np
import pytest

from kd_cls.datasets import ImageFolder


@pytest.fixture
def root(tmp_path, draw):
    for split, each in (("train", 4), ("val", 2)):
        for name in ("bee", "ant one", "cow"):
            for number in range(each):
                draw(tmp_path / split / name / f"{number}.png", (6 + number % 2, 5))
    return tmp_path


def test_classes_are_the_folders_of_train(root, draw):
    draw(root / "train/cow/calves/x.png")
    train, val = ImageFolder(str(root)), ImageFolder(str(root), "val")
    assert train.class_names == val.class_names == ("ant one", "bee", "cow")
    assert np.bincount(train.labels).tolist() == [4, 4, 5] and len(val) == 6
    assert train.images.name(12) == "cow/calves/x.png" and train.labels[12] == 2
    assert len(set(train.ids) | set(val.ids)) == 13 + 6
    assert train.metainfo == dict(classes=("ant one", "bee", "cow"))


def test_given_classes_fix_the_order(root):
    names = ("cow", "bee", "ant one")
    assert ImageFolder(str(root), "val", classes=names).labels.tolist() == [2, 2, 1, 1, 0, 0]
    with pytest.raises(ValueError, match="lacks dog and has also bee"):
        ImageFolder(str(root), "val", classes=("cow", "dog", "ant one"))
    with pytest.raises(ValueError, match="two or more different classes, but .* cow, cow, bee"):
        ImageFolder(str(root), "val", classes=("cow", "cow", "bee"))


def test_an_empty_class_folder_is_named(root):
    for path in (root / "val/bee").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="every class must have an image, but 1 of 3 .*: bee"):
        ImageFolder(str(root), "val")


def test_a_class_folder_too_few_or_too_many(root, draw):
    shutil.rmtree(root / "val/cow")
    with pytest.raises(ValueError, match="val must have a folder .* lacks cow and has also none"):
        ImageFolder(str(root), "val")
    draw(root / "val/cow/0.png")
    draw(root / "val/dog/0.png")
    with pytest.raises(ValueError, match="lacks none and has also dog"):
        ImageFolder(str(root), "val")


def test_an_image_beside_the_classes(root, draw):
    draw(root / "train/lost.png")
    with pytest.raises(ValueError, match=r"in the folder of its class, but .*lost.png does not"):
        ImageFolder(str(root))


def test_missing_folders_are_named(root):
    with pytest.raises(FileNotFoundError, match=r"test is missing. .* has train, val"):
        ImageFolder(str(root), "test")
    with pytest.raises(FileNotFoundError, match="has nothing"):
        ImageFolder(str(root / "no"), "train")


def test_a_broken_image_is_named_when_it_is_read(root):
    (root / "train/bee/0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bee/0.png cannot be decoded"):
        ImageFolder(str(root))[4]


def test_images_of_different_size_are_named(root):
    data = ImageFolder(str(root))
    assert data[0]["inputs"].shape == (3, 5, 6)
    with pytest.raises(ValueError, match=r"one size, but ant one/1.png .* is 5 x 7 .* is 5 x 6"):
        data[1]
    resized = ImageFolder(str(root), transforms=[dict(type="Resize", size=[4, 4])])
    assert {tuple(resized[row]["inputs"].shape) for row in range(4)} == {(3, 4, 4)}
