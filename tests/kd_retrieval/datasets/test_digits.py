"""The built-in digits."""

import numpy as np

from kd_retrieval.datasets import BuiltInDigits


def test_counts_and_splits(check_splits):
    data = check_splits(BuiltInDigits)
    assert {split: len(one) for split, one in data.items()} == dict(
        train=720, val=363, trainval=1083, test=714
    )
    assert data["test"].class_names == ("6", "7", "8", "9")


def test_images_belong_to_their_labels():
    from sklearn.datasets import load_digits

    source = load_digits()
    data = BuiltInDigits("test")
    for index in (0, 100, 713):
        id_ = data.ids[index]
        assert data.class_of(index) == str(source.target[id_])
        small = np.asarray(data.read(index).convert("L").resize((8, 8)), dtype=float)
        assert np.corrcoef(small.ravel(), source.images[id_].ravel())[0, 1] > 0.95


def test_the_fingerprint_differs_between_splits():
    assert BuiltInDigits("val").fingerprint() != BuiltInDigits("test").fingerprint()
    assert BuiltInDigits("val").fingerprint() == BuiltInDigits("val").fingerprint()
