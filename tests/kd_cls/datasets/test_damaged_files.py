"""Damaged files of public sets: whatever they hold, a reader ends in its own error."""

import gzip
import runpy
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from kd_cls.datasets import CIFAR10, SVHN, Caltech100, FashionMNIST, TinyImageNet

FUZZ = runpy.run_path(str(Path(__file__).parents[2] / "fuzz.py"))
quick, damaged, read_or_refuse = FUZZ["quick"], FUZZ["damaged"], FUZZ["read_or_refuse"]


def idx(array):
    shape = array.shape
    head = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    return head + array.astype(np.uint8).tobytes()


@quick(80)
@given(data=st.data())
def test_fashion_mnist(tmp_path, data):
    files = {
        "train-images-idx3-ubyte.gz": idx(np.ones((20, 28, 28))),
        "train-labels-idx1-ubyte.gz": idx(np.arange(20) % 10),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(gzip.compress(content, mtime=0))
    path = tmp_path / data.draw(st.sampled_from(sorted(files)))
    if data.draw(st.booleans()):
        path.write_bytes(gzip.compress(data.draw(damaged(files[path.name])), mtime=0))
    else:
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    read_or_refuse(lambda: FashionMNIST(str(tmp_path), limit=20), tmp_path)


@quick(80)
@given(data=st.data())
def test_svhn(tmp_path, data):
    path = tmp_path / "train_32x32.mat"
    digits = (np.arange(20, dtype=np.uint8) % 10 + 1)[:, None]
    savemat(path, dict(X=np.zeros((32, 32, 3, 20), np.uint8), y=digits))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    read_or_refuse(lambda: SVHN(str(tmp_path), check_counts=False), tmp_path)


@pytest.mark.filterwarnings("ignore:.*are not images by their names")
@quick(80)
@given(data=st.data())
def test_tiny_imagenet(tmp_path, data):
    files = {"wnids.txt": "n1\nn2\n", "val/val_annotations.txt": "a.JPEG\tn1\t0\t0\t9\t9\n"}
    files["val/val_annotations.txt"] += "b.JPEG\tn2\t0\t0\t9\t9\n"
    (tmp_path / "val/images").mkdir(parents=True, exist_ok=True)
    for name in "ab":
        (tmp_path / f"val/images/{name}.JPEG").touch()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    name = data.draw(st.sampled_from(sorted(files)))
    (tmp_path / name).write_bytes(data.draw(damaged(files[name].encode())))
    read_or_refuse(lambda: TinyImageNet(str(tmp_path), "test", check_counts=False), tmp_path)


@quick(80)
@given(data=st.data())
def test_caltech100(tmp_path, data):
    lines = "".join(f"images/{folder}/{i}.png 0\n" for folder in "ab" for i in range(5))
    for name in ("retrieval_train.txt", "retrieval_test.txt"):
        (tmp_path / name).write_text(lines.replace("images", name[10:13]), encoding="utf-8")
    path = tmp_path / "retrieval_test.txt"
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    read_or_refuse(lambda: Caltech100(str(tmp_path), check_counts=False), tmp_path)


@pytest.mark.parametrize("path", ["../a/0.png", "/elsewhere/a/0.png"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, write_lines, path):
    write_lines(tmp_path / "retrieval_train.txt", f"{path} 0")
    write_lines(tmp_path / "retrieval_test.txt", "b/0.png 0")
    with pytest.raises(ValueError, match="line 1, must have a path below the data folder"):
        Caltech100(str(tmp_path), check_counts=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n".join("abcdefghij").encode("utf-8-sig"), ""),
        ("\n".join("abcdefghiü").encode("latin-1"), "must be UTF-8"),
        ("\n".join("abcdefghij").encode("utf-16"), "must be UTF-8"),
    ],
)
def test_names_of_classes_in_another_encoding(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr("kd_cls.datasets.cifar._TEST", 10)
    rows = np.zeros((10, 3073), np.uint8)
    rows[:, 0] = np.arange(10)
    rows.tofile(tmp_path / "test_batch.bin")
    (tmp_path / "batches.meta.txt").write_bytes(content)
    if not message:
        assert CIFAR10(str(tmp_path), "test").class_names == tuple("abcdefghij")
        return
    with pytest.raises(ValueError, match=rf"batches\.meta\.txt {message}"):
        CIFAR10(str(tmp_path), "test")
