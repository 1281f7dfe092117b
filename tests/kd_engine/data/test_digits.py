"""Built-in digits: read without scikit-learn's code, and by it where its file is elsewhere."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kd_engine.data import digits


@pytest.mark.parametrize("file", [digits._FILE, "no/such/file"])
def test_the_digits_are_those_of_scikit_learn(file, monkeypatch):
    monkeypatch.setattr(digits, "_FILE", file)
    images, labels = digits.source_digits()
    wanted = load_digits()
    assert images.dtype == np.float32 and labels.dtype == np.int64
    np.testing.assert_array_equal(images, wanted.images / 16)
    np.testing.assert_array_equal(labels, wanted.target)
