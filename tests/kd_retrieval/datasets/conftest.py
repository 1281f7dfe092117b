"""Rules of every retrieval dataset."""

import numpy as np
import pytest
import torch

SPLITS = ("train", "val", "trainval", "test")


@pytest.fixture
def check_splits():
    """Build every split and check what all datasets must keep to; returns them by name."""

    def check(make, items=True):
        data = {split: make(split) for split in SPLITS}
        for one in data.values():
            assert sorted(set(one.labels.tolist())) == list(range(len(one.class_names)))
            assert one.labels.dtype == one.ids.dtype == np.int64
            assert len(set(one.ids.tolist())) == len(set(one.paths)) == len(one)
            assert one.metainfo == dict(classes=one.class_names)
        for first, second in (("train", "val"), ("trainval", "test")):
            assert not set(data[first].class_names) & set(data[second].class_names)
            assert not set(data[first].ids.tolist()) & set(data[second].ids.tolist())
            assert not set(data[first].paths) & set(data[second].paths)
        parts = [*data["train"].records, *data["val"].records]
        assert {(one.path, one.id) for one in parts} == {
            (one.path, one.id) for one in data["trainval"].records
        }
        for one in data.values() if items else ():
            item = one[len(one) - 1]
            assert item["inputs"].dtype == torch.uint8 and item["inputs"].shape[0] == 3
            assert (item["labels"], item["ids"]) == (one.labels[-1], one.ids[-1])
        return data

    return check
