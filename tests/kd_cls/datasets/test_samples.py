"""Rules of every classification dataset."""

import numpy as np
import pytest
import torch
from PIL import Image

from kd_cls.datasets import ClassificationDataset
from kd_cls.datasets.samples import DecodedImages, ImageFiles, Samples

LABELS = np.repeat([0, 1], 20)


def samples(pixels=None, labels=LABELS, ids=None, names=("a", "b")):
    pixels = np.zeros((len(labels), 6, 5, 3), np.uint8) if pixels is None else pixels
    ids = np.arange(len(labels)) if ids is None else ids
    return Samples(DecodedImages(pixels), labels, ids, names)


def test_colors_and_grays_in_memory():
    colors = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    item = ClassificationDataset("x", samples(colors))[3]
    assert item["inputs"].dtype == torch.uint8
    np.testing.assert_array_equal(item["inputs"].permute(1, 2, 0), colors[3])
    gray = ClassificationDataset("x", samples(colors[..., 0]))[3]["inputs"]
    assert gray.shape == (3, 6, 5)
    for channel in gray:
        np.testing.assert_array_equal(channel, colors[3, ..., 0])


def test_augmentation_of_cifar_keeps_the_size():
    steps = [dict(type="RandomCrop", size=32, padding=4), dict(type="RandomHorizontalFlip")]
    pixels = np.full((40, 32, 32), 255, np.uint8)
    data = ClassificationDataset("x", samples(pixels), steps)
    torch.manual_seed(0)
    found = torch.stack([data[0]["inputs"] for _ in range(20)])
    assert found.shape == (20, 3, 32, 32)
    black = (found == 0).float().mean(dim=(1, 2, 3))
    assert black.max() <= 1 - (28 / 32) ** 2 and 0 < black.mean()  # shifted by at most 4


def test_val_and_train_divide_trainval():
    whole = samples()
    parts = {split: whole.part(split) for split in ("train", "val", "trainval")}
    assert [len(part.labels) for part in parts.values()] == [36, 4, 40]
    assert np.bincount(parts["val"].labels).tolist() == [2, 2]
    assert sorted([*parts["train"].ids, *parts["val"].ids]) == list(range(40))
    assert np.array_equal(parts["val"].ids, samples().part("val").ids)


def test_paths_of_any_script_are_found_again(tmp_path):
    for name in ("ça.png", "b/a long name of an image.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    images = ImageFiles(tmp_path, ["ça.png", "b/a long name of an image.png"])
    assert images.select(np.array([1, 0])).name(1) == "ça.png"
    assert [images.read(row).size for row in (0, 1)] == [(4, 3), (4, 3)]


def test_a_class_without_images_and_repeated_ids_are_refused():
    with pytest.raises(ValueError, match="but 1 of 3 in this split of x have none: c"):
        ClassificationDataset("x", samples(names=("a", "b", "c")))
    with pytest.raises(ValueError, match="x has 1 different ones for 40 images"):
        ClassificationDataset("x", samples(ids=np.zeros(40, np.int64)))
