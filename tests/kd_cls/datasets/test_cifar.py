"""CIFAR's binary files: layout, splits, damage, and pickles that are not read."""

import numpy as np
import pytest

from kd_cls.datasets import CIFAR10, CIFAR100

PIXELS = 3 * 32 * 32
NAMES = [f"thing_{number}" for number in range(100)]


def records(count, classes, label_bytes, shift=0):
    """Records whose label is their place, and whose first pixel counts on from it."""
    rows = np.zeros((count, label_bytes + PIXELS), dtype=np.uint8)
    place = np.arange(count) + shift
    rows[:, label_bytes - 1] = place % classes
    rows[:, 0] = rows[:, 0] if label_bytes == 1 else 19
    for channel in range(3):
        rows[:, label_bytes + channel * 1024] = (place + channel) % 256
        rows[:, label_bytes + channel * 1024 + 34] = 7  # row 1, column 2
    return rows


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        records(10_000, 10, 1, number).tofile(folder / f"data_batch_{number}.bin")
    records(10_000, 10, 1).tofile(folder / "test_batch.bin")
    (folder / "batches.meta.txt").write_text("\n".join(NAMES[:10]) + "\n\n")
    return folder


@pytest.fixture(scope="module")
def cifar100(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "cifar-100-binary"
    folder.mkdir()
    records(50_000, 100, 2).tofile(folder / "train.bin")
    records(10_000, 100, 2).tofile(folder / "test.bin")
    (folder / "fine_label_names.txt").write_text("\n".join(NAMES))
    return folder


def test_cifar10(cifar10):
    whole, test = CIFAR10(str(cifar10)), CIFAR10(str(cifar10), "test")
    assert (len(whole), len(test)) == (50_000, 10_000)
    assert whole.class_names == test.class_names == tuple(NAMES[:10])
    item = whole[20_003]  # of the third file, which begins with 3
    assert (item["labels"], item["ids"]) == (6, 20_003)
    assert item["inputs"].shape == (3, 32, 32)
    assert item["inputs"][:, 0, 0].tolist() == [6, 7, 8]
    assert item["inputs"][:, 1, 2].tolist() == [7, 7, 7] and item["inputs"][:, 2, 1].sum() == 0
    assert test.ids[0] == 50_000 and test[4]["labels"] == 4


def test_cifar100_has_the_fine_labels(cifar100):
    data = CIFAR100(str(cifar100))
    assert len(data.class_names) == 100 and data[57]["labels"] == 57
    assert data[57]["inputs"][:, 0, 0].tolist() == [57, 58, 59]


def test_val_is_a_tenth_of_each_class(cifar100):
    train, val = (CIFAR100(str(cifar100), split) for split in ("train", "val"))
    assert set(np.bincount(train.labels)) == {450} and set(np.bincount(val.labels)) == {50}
    both = np.concatenate([train.ids, val.ids])
    assert sorted(both.tolist()) == list(range(50_000))
    for row in (0, 4_999):
        assert val[row]["labels"] == val.ids[row] % 100
        assert val[row]["inputs"][0, 0, 0] == val.ids[row] % 256


def test_a_file_of_another_size_is_named(cifar10, tmp_path):
    (tmp_path / "test_batch.bin").write_bytes((cifar10 / "test_batch.bin").read_bytes()[:-1])
    with pytest.raises(ValueError, match="10,000 records of 3,073 .* but it has 30,729,999"):
        CIFAR10(str(tmp_path), "test")


def test_a_label_that_stands_for_no_class(cifar10, tmp_path):
    rows = records(10_000, 10, 1)
    rows[3, 0] = 10
    rows.tofile(tmp_path / "test_batch.bin")
    with pytest.raises(ValueError, match=r"test_batch.bin must be 0 to 9, but they are 0 to 10"):
        CIFAR10(str(tmp_path), "test")


def test_names_must_be_as_many_as_classes(cifar100, tmp_path):
    (tmp_path / "test.bin").symlink_to(cifar100 / "test.bin")
    (tmp_path / "fine_label_names.txt").write_text("\n".join(NAMES[:99]))
    with pytest.raises(ValueError, match="must name 100 classes, but it names 99"):
        CIFAR100(str(tmp_path), "test")


@pytest.mark.parametrize(("kind", "file"), [(CIFAR10, "data_batch_1"), (CIFAR100, "train")])
def test_pickles_are_not_read(kind, file, tmp_path):
    (tmp_path / file).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ValueError, match="pickles are not read.*binary version"):
        kind(str(tmp_path), "test")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"test.bin is missing. .kdkit fetch --help. says"):
        CIFAR100(str(tmp_path), "test")
    with pytest.raises(ValueError, match="split must be one of train, val, trainval, test"):
        CIFAR100(str(tmp_path), "valid")
