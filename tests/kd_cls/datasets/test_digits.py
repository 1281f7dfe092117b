"""The built-in digits, divided within each class."""

import numpy as np

from kd_cls.datasets import BuiltInDigits


def test_every_class_is_in_every_split():
    data = {split: BuiltInDigits(split) for split in ("train", "val", "trainval", "test")}
    assert {split: len(one) for split, one in data.items()} == dict(
        train=1078, val=360, trainval=1438, test=359
    )
    for one in data.values():
        assert one.class_names == tuple("0123456789")
        counts = np.bincount(one.labels, minlength=10)
        assert counts.min() > 0.94 * counts.max()
    assert sorted([*data["trainval"].ids, *data["test"].ids]) == list(range(1797))
    assert sorted([*data["train"].ids, *data["val"].ids]) == sorted(data["trainval"].ids)


def test_images_belong_to_their_labels():
    from sklearn.datasets import load_digits

    source = load_digits()
    data = BuiltInDigits("test")
    for index in (0, 100, 358):
        row = data.ids[index]
        assert data[index]["labels"] == source.target[row]
        assert data[index]["inputs"].shape == (3, 32, 32)
        small = np.asarray(data.read(index).convert("L").resize((8, 8)), dtype=float)
        assert np.corrcoef(small.ravel(), source.images[row].ravel())[0, 1] > 0.95
