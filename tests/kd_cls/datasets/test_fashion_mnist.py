"""Fashion-MNIST's idx files: reading, limits, damage; and the real ones where they are."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from kd_cls.datasets import FashionMNIST

REAL = Path(os.environ.get("KD_DATA") or "data") / "fashion_mnist"


def write(path, array, head=None):
    shape = array.shape
    head = head or struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


@pytest.fixture
def root(tmp_path):
    """60 training images, the class of each its place modulo ten; no test images."""
    images = np.arange(60)[:, None, None] * np.ones((28, 28))
    write(tmp_path / "train-images-idx3-ubyte.gz", images)
    write(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(60) % 10)
    return tmp_path


def test_a_limit_takes_the_first_of_each_class(root):
    data = FashionMNIST(str(root), limit=20)
    assert data.ids.tolist() == list(range(20)) and np.bincount(data.labels).tolist() == [2] * 10
    item = data[13]
    assert (item["labels"], item["ids"]) == (3, 13)
    assert item["inputs"].shape == (3, 28, 28) and set(item["inputs"].unique().tolist()) == {13}
    everything = FashionMNIST(str(root), limit=60)
    assert len(everything) == 60
    parts = [FashionMNIST(str(root), part, limit=60) for part in ("train", "val")]
    assert [len(part) for part in parts] == [50, 10]
    assert not set(parts[0].ids) & set(parts[1].ids)


def test_the_test_set_stays_whole_and_has_ids_of_its_own(root):
    write(root / "t10k-images-idx3-ubyte.gz", np.zeros((10_000, 28, 28)))
    write(root / "t10k-labels-idx1-ubyte.gz", np.arange(10_000) % 10)
    data = FashionMNIST(str(root), "test", limit=20)
    assert len(data) == 10_000 and data.ids[0] == 60_000
    write(root / "t10k-images-idx3-ubyte.gz", np.zeros((9_990, 28, 28)))
    write(root / "t10k-labels-idx1-ubyte.gz", np.arange(9_990) % 10)
    with pytest.raises(ValueError, match="must have 10,000 images, but there are 9,990"):
        FashionMNIST(str(root), "test")


def test_without_a_limit_the_published_number_is_wanted(root):
    with pytest.raises(ValueError, match="60,000 images, but there are 60. .* limit=60 takes"):
        FashionMNIST(str(root))


@pytest.mark.parametrize("limit", [0, 5, 15, 70, -10])
def test_a_limit_that_does_not_fit(root, limit):
    with pytest.raises(ValueError, match="multiple of 10 from 10 to 60"):
        FashionMNIST(str(root), limit=limit)


def test_damaged_files_are_named(root):
    images = root / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    for content in (whole[:-20], whole[:40], b"no gzip", b"", gzip.compress(b"\0\0")):
        images.write_bytes(content)
        with pytest.raises(ValueError, match="train-images.* must be a compressed idx file"):
            FashionMNIST(str(root), limit=10)
    write(images, np.zeros((60, 28, 28)), struct.pack(">4I", 0x0803, 61, 28, 28))
    with pytest.raises(ValueError, match=r"header says \[61, 28, 28\], but 47,040 bytes"):
        FashionMNIST(str(root), limit=10)
    write(images, np.zeros((60, 28, 28)), struct.pack(">4I", 0x0803, 4_000_000_000, 28, 28))
    with pytest.raises(ValueError, match="its header is 0x0803 .4000000000"):
        FashionMNIST(str(root), limit=10)
    write(images, np.zeros((59, 28, 28)))
    with pytest.raises(ValueError, match=r"as many, of 28 x 28, but they are \(59, 28, 28\)"):
        FashionMNIST(str(root), limit=10)
    images.unlink()
    with pytest.raises(FileNotFoundError, match="fetch --help' says where"):
        FashionMNIST(str(root), limit=10)


@pytest.mark.skipif(not REAL.is_dir(), reason="fashion_mnist is not in the folder KD_DATA")
def test_real_files():
    test = FashionMNIST(str(REAL), "test")
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test[0]["labels"] == 9 and test.class_names[9] == "Ankle boot"
    small = FashionMNIST(str(REAL), limit=2000)
    assert np.bincount(small.labels).tolist() == [200] * 10
    ink = small.images.pixels / 255
    assert abs(ink.mean() - 0.286) < 0.01 and abs(ink.std() - 0.353) < 0.01  # as published
