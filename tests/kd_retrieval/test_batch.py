"""Batches of images with one label or several."""

import pytest
import torch
from torch.utils.data import default_collate

from kd_retrieval import collate


def items(labels, size=4):
    return [
        dict(inputs=torch.full((3, size, 4), row, dtype=torch.uint8), labels=label,
             ids=2**60 + row, roles=row % 3)
        for row, label in enumerate(labels)
    ]  # fmt: skip


def test_it_is_the_default_for_one_label():
    ours, theirs = collate(items([4, 0, 2**53 + 1])), default_collate(items([4, 0, 2**53 + 1]))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key].dtype == value.dtype and torch.equal(ours[key], value)


@pytest.mark.parametrize("labels", [[[1, 2], [3, 4]], [[1], [2, 3], [4]]])
def test_several_labels_stay_with_their_image(labels):
    assert collate(items(labels))["labels"] == labels


def test_sizes_that_differ_are_named():
    mixed = [*items([1]), *items([2], size=6)]
    with pytest.raises(ValueError, match=r"one size.*\(3, 4, 4\) and \(3, 6, 4\)"):
        collate(mixed)
