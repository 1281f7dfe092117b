"""Tables of images and the dataset around them."""

import json

import numpy as np
import pytest
import torch

from kd_retrieval.datasets.base import (
    BOTH,
    QUERY,
    RetrievalDataset,
    Table,
    check_split,
    number_classes,
    require_counts,
    require_unique,
)


def table(labels, classes, ids=None, roles=None):
    n = len(labels)
    return Table(
        [f"{i}.png" for i in range(n)],
        np.array(labels),
        np.arange(n) if ids is None else np.array(ids),
        classes,
        roles,
    )


def test_select_keeps_the_classes_that_are_left_and_numbers_them_anew():
    whole = table([2, 0, 1, 2], ("a", "b", "c"), roles=np.array([1, 2, 0, 1]))
    part = whole.select(np.array([True, False, True, True]))
    assert part.paths == ["0.png", "2.png", "3.png"] and part.class_names == ("b", "c")
    assert part.labels.tolist() == [1, 0, 1] and part.ids.tolist() == [0, 2, 3]
    assert part.roles.tolist() == [1, 0, 1]
    assert whole.select(np.array([3, 0])).paths == ["3.png", "0.png"]


def test_val_is_the_last_fifth_of_the_classes_and_two_at_least():
    many = table(list(range(11)), tuple("abcdefghijk"))
    assert many.part("val").class_names == ("j", "k")
    assert many.part("train").class_names == tuple("abcdefghi")
    assert many.part("trainval") is many and many.part("test") is many
    four = table([0, 1, 2, 3], tuple("abcd"))
    assert four.part("val").class_names == ("c", "d")
    with pytest.raises(ValueError, match="two classes each, but there are only 3"):
        table([0, 1, 2], tuple("abc")).part("val")


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train, val, trainval, test, but it is 'valid'"):
        check_split("valid")


def test_classes_are_numbered_by_name():
    classes, labels = number_classes(["b", "a", "b", "ä"])
    assert classes == ("a", "b", "ä") and labels.tolist() == [1, 0, 1, 2]
    assert labels.dtype == np.int64


def test_counts_name_both_numbers():
    counts = {"trainval": (2, 2), "test": (3, 3)}
    require_counts("Toy", table([0, 1], ("a", "b")), "val", counts)
    with pytest.raises(ValueError, match="Toy must have 3 images of 3 .*search, but .* 2 of 2"):
        require_counts("Toy", table([0, 1], ("a", "b")), "test", counts)


def test_repeats_are_named():
    twice = table([0, 0], ("a",))
    twice.paths = ["x.png", "x.png"]
    with pytest.raises(ValueError, match=r"here\.txt lists x\.png twice"):
        require_unique(twice, "here.txt")
    with pytest.raises(ValueError, match=r"gives id 7 to 1\.png and to 2\.png"):
        require_unique(table([0, 0, 0], ("a",), ids=[5, 7, 7]), "here.txt")


def test_a_data_set_checks_its_table(tmp_path):
    with pytest.raises(ValueError, match="must have an image, but this split of"):
        RetrievalDataset(tmp_path, table([], ()))
    with pytest.raises(ValueError, match="id 1 to"):
        RetrievalDataset(tmp_path, table([0, 0], ("a",), ids=[1, 1]))


def test_items_and_records(tmp_path, draw):
    draw(tmp_path / "0.png", mode="L")
    roles = np.array([QUERY])
    data = RetrievalDataset(
        tmp_path, table([0], ("a",), [9], roles), [dict(type="Resize", size=(4, 3))]
    )
    item = data[0]
    assert (item["labels"], item["ids"], item["roles"]) == (0, 9, QUERY)
    assert item["inputs"].shape == (3, 4, 3) and item["inputs"].dtype == torch.uint8
    assert all(type(item[key]) is int for key in ("labels", "ids", "roles"))
    assert data.records == [("0.png", 0, 9, QUERY)] and data.class_of(0) == "a"
    assert RetrievalDataset(tmp_path, table([0], ("a",))).roles.tolist() == [BOTH]


def test_the_fingerprint_sees_every_change(tmp_path, draw):
    draw(tmp_path / "0.png")
    prints = {RetrievalDataset(tmp_path, table([0], ("a",))).fingerprint()}
    prints.add(RetrievalDataset(tmp_path, table([0], ("a",))).fingerprint())
    assert len(prints) == 1
    prints.add(RetrievalDataset(tmp_path, table([0], ("b",))).fingerprint())
    prints.add(RetrievalDataset(tmp_path, table([0], ("a",), [3])).fingerprint())
    prints.add(RetrievalDataset(tmp_path, table([0], ("a",), [0], np.array([2]))).fingerprint())
    draw(tmp_path / "0.png", size=(90, 70))
    prints.add(RetrievalDataset(tmp_path, table([0], ("a",))).fingerprint())
    assert len(prints) == 5


def test_the_key_of_transforms_does_not_depend_on_their_order_of_arguments(tmp_path):
    one, two = dict(type="Resize", size=[4, 4]), dict(size=(4, 4), type="Resize")
    keys = {RetrievalDataset(tmp_path, table([0], ("a",)), [t]).transform_key() for t in (one, two)}
    assert len(keys) == 1 and json.loads(keys.pop()) == [one]


def test_a_broken_and_a_missing_image_are_named(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no image")
    data = RetrievalDataset(tmp_path, table([0, 0], ("a",)))
    with pytest.raises(ValueError, match=r"0\.png cannot be decoded"):
        data[0]
    with pytest.raises(FileNotFoundError, match=r"1\.png is missing"):
        data[1]
