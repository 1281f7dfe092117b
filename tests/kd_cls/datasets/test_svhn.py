"""SVHN's MATLAB files."""

import numpy as np
import pytest
from scipy.io import savemat

from kd_cls.datasets import SVHN


def write(path, count=100, **changes):
    rng = np.random.default_rng(0)
    content = dict(
        X=rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8),
        y=(np.arange(count, dtype=np.uint8) % 10 + 1)[:, None],
    )
    content |= changes
    savemat(path, {key: value for key, value in content.items() if value is not None})
    return content


def test_images_labels_and_ids(tmp_path):
    content = write(tmp_path / "train_32x32.mat")
    data = SVHN(str(tmp_path), check_counts=False)
    assert data.class_names == tuple("0123456789")
    item = data[12]
    assert (item["labels"], item["ids"]) == (3, 12)  # y is 3
    np.testing.assert_array_equal(item["inputs"].permute(1, 2, 0), content["X"][..., 12])
    assert data[9]["labels"] == 0  # y is 10
    write(tmp_path / "test_32x32.mat")
    assert SVHN(str(tmp_path), "test", check_counts=False).ids[0] == 73_257
    parts = [SVHN(str(tmp_path), part, check_counts=False) for part in ("train", "val")]
    assert [len(part) for part in parts] == [90, 10]


def test_the_published_numbers_are_wanted(tmp_path):
    write(tmp_path / "test_32x32.mat")
    with pytest.raises(ValueError, match="must have 26,032 images, but there are 100"):
        SVHN(str(tmp_path), "test")


@pytest.mark.parametrize(
    "changes",
    [
        dict(X=None),
        dict(y=np.full((100, 1), 11, np.uint8)),
        dict(y=np.zeros((100, 1), np.uint8)),
        dict(y=np.ones((99, 1), np.uint8)),
        dict(X=np.zeros((28, 28, 3, 100), np.uint8)),
        dict(X=np.zeros((32, 32, 3, 100), np.float32)),
    ],
)
def test_other_contents_are_refused(tmp_path, changes):
    write(tmp_path / "test_32x32.mat", **changes)
    with pytest.raises(ValueError, match=r"test_32x32.mat must (be a MATLAB file with|have) X"):
        SVHN(str(tmp_path), "test", check_counts=False)


def test_a_cut_file_is_named(tmp_path):
    path = tmp_path / "test_32x32.mat"
    write(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="must be a MATLAB file .* but reading it fails"):
        SVHN(str(tmp_path), "test", check_counts=False)
