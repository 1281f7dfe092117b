"""Every class is divided in the same proportion, and always in the same way."""

import numpy as np
import pytest

from kd_engine.data.splits import split_inside_classes

LABELS = np.array([2] * 30 + [0] * 10 + [2] * 20 + [7] * 3)


def test_every_row_is_in_one_part_and_every_class_in_proportion():
    parts = split_inside_classes(LABELS, (0.6, 0.2, 0.2))
    assert list(parts) == ["train", "val", "test"]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(63))
    counts = [np.bincount(LABELS[rows], minlength=8)[[0, 2, 7]] for rows in parts.values()]
    assert np.array_equal(counts, [[6, 30, 2], [2, 10, 0], [2, 10, 1]])


def test_the_seed_decides_and_the_order_is_fixed():
    first = split_inside_classes(LABELS, (0.8, 0.2, 0.0))
    again = split_inside_classes(LABELS, (0.8, 0.2, 0.0))
    other = split_inside_classes(LABELS, (0.8, 0.2, 0.0), seed=1)
    assert all(np.array_equal(first[part], again[part]) for part in first)
    assert not np.array_equal(first["train"], other["train"])
    # Class 0 comes first: its rows, 30 to 39, in the order that RandomState(0) gives them.
    expected = np.random.RandomState(0).permutation(np.arange(30, 40))
    assert first["train"][:8].tolist() == expected[:8].tolist()
    assert first["val"][:2].tolist() == expected[8:].tolist()


@pytest.mark.parametrize("shares", [(0.6, 0.6, 0.2), (1.2, -0.2, 0.0)])
def test_shares_must_sum_to_one(shares):
    with pytest.raises(ValueError, match="from 0 that sum to 1"):
        split_inside_classes(LABELS, shares)
