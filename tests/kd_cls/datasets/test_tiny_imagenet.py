"""Tiny ImageNet in its native layout."""

import pytest

from kd_cls.datasets import TinyImageNet

WNIDS = ("n02", "n01", "n03")


@pytest.fixture
def root(tmp_path, draw, write_lines):
    write_lines(tmp_path / "wnids.txt", *WNIDS)
    for wnid in WNIDS:
        for number in range(20):
            draw(tmp_path / f"train/{wnid}/images/{wnid}_{number}.JPEG")
        write_lines(tmp_path / f"train/{wnid}/{wnid}_boxes.txt", "n01_0.JPEG\t0\t0\t1\t1")
    lines = [f"val_{n}.JPEG\t{WNIDS[n % 3]}\t0\t0\t9\t9" for n in range(6)]
    for number in range(6):
        draw(tmp_path / f"val/images/val_{number}.JPEG")
    write_lines(tmp_path / "val/val_annotations.txt", *lines)
    return tmp_path


def build(root, split="trainval", **options):
    return TinyImageNet(str(root), split, check_counts=False, **options)


@pytest.mark.filterwarnings("ignore:.*are not images by their names")
def test_the_labeled_folder_val_is_the_test(root):
    data = {split: build(root, split) for split in ("train", "val", "trainval", "test")}
    assert {split: len(one) for split, one in data.items()} == dict(
        train=54, val=6, trainval=60, test=6
    )
    assert {one.class_names for one in data.values()} == {("n01", "n02", "n03")}
    # val_0 is of n02, val_1 of n01, val_2 of n03.
    assert data["test"].labels[:3].tolist() == [1, 0, 2] and data["test"].ids[0] == 100_000
    assert data["test"].images.name(1) == "val/images/val_1.JPEG"
    assert not set(data["train"].ids) & set(data["val"].ids)
    name = data["trainval"].images.name(25)
    assert data["trainval"].labels[25] == 1 and name.startswith("train/n02/images/")


@pytest.mark.filterwarnings("ignore:.*are not images by their names")
def test_what_is_incomplete_is_named(root, draw):
    with pytest.raises(ValueError, match="wnids.txt must have 200 classes, but there are 3"):
        TinyImageNet(str(root))
    draw(root / "val/images/val_9.JPEG")
    with pytest.raises(ValueError, match=r"class of wnids.txt, but .*val_9.JPEG has none"):
        build(root, "test")
    draw(root / "train/n09/images/a.JPEG")
    with pytest.raises(ValueError, match=r"class of wnids.txt, but .*n09/images/a.JPEG has n09"):
        build(root)
    (root / "wnids.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"wnids.txt is missing. .kdkit fetch --help. says"):
        build(root)
