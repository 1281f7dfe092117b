"""Transforms by config."""

import numpy as np
import pytest
import torch
from PIL import Image

from kd_engine.data.transforms import build_transforms

IMAGE = Image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3))


def reverse():
    """A custom transform, made by a function."""
    return lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def test_without_transforms_the_pixels_come_as_they_are():
    found = build_transforms([])(IMAGE)
    assert found.dtype == torch.uint8 and found.shape == (3, 20, 30)
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), np.asarray(IMAGE))


def test_they_are_applied_one_after_another():
    steps = [dict(type="Resize", size=(40, 60)), dict(type="CenterCrop", size=10)]
    assert build_transforms(steps)(IMAGE).shape == (3, 10, 10)
    assert build_transforms(steps[::-1])(IMAGE).shape == (3, 40, 60)


def test_a_dotted_name_is_anything_that_makes_a_transform():
    own = build_transforms([dict(type=f"{__name__}.reverse")])
    flipped = build_transforms([dict(type="torchvision.transforms.RandomHorizontalFlip", p=1.0)])
    expected = build_transforms([])(IMAGE).flip(2)
    assert torch.equal(flipped(IMAGE), expected)
    assert torch.equal(own(IMAGE), expected)


def test_transforms_within_transforms_are_built():
    inner = dict(type="RandomHorizontalFlip", p=1.0)
    steps = [dict(type="RandomApply", transforms=[inner], p=1.0)]
    assert torch.equal(build_transforms(steps)(IMAGE), build_transforms([])(IMAGE).flip(2))
    with pytest.raises(ValueError, match=r"v2 has no 'Flop'"):
        build_transforms([dict(type="RandomApply", transforms=[dict(type="Flop")])])


def test_a_config_is_not_changed():
    config = dict(type="Resize", size=8)
    assert build_transforms([config])(IMAGE).shape == build_transforms([config])(IMAGE).shape
    assert config == dict(type="Resize", size=8)


def test_interpolation_by_name_and_number():
    by_name, by_number = (
        build_transforms([dict(type="Resize", size=8, interpolation=one)])(IMAGE)
        for one in ("bicubic", 3)
    )
    assert torch.equal(by_name, by_number)
    assert not torch.equal(by_name, build_transforms([dict(type="Resize", size=8)])(IMAGE))


def test_an_image_of_v2_becomes_a_plain_tensor():
    found = build_transforms([dict(type="ToImage")])(IMAGE)
    assert type(found) is torch.Tensor and found.shape == (3, 20, 30)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([dict(type="Resise", size=8)], r"v2 has no 'Resise'; see .*Resize"),
        ([dict(type="functional")], "v2 has no 'functional'"),
        ([dict(size=8)], r"must be dict\(type=..., ...\), but it is {'size': 8}"),
        ([dict(type="Resize", sise=8)], "the transform Resize: .*sise"),
        ([dict(type="RandomHorizontalFlip", p=2)], "the transform RandomHorizontalFlip: "),
        ([dict(type="no.such.Thing")], r"no transform no\.such\.Thing: No module named 'no'"),
        ([dict(type="torch.Thing")], r"no transform torch\.Thing: .*has no attribute"),
    ],
)
def test_what_cannot_be_built_is_named(steps, message):
    with pytest.raises(ValueError, match=message):
        build_transforms(steps)


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (dict(type="ToTensor"), r"torch.float32 \(3, 20, 30\)"),
        (dict(type="Grayscale"), r"torch.uint8 \(1, 20, 30\)"),
        (dict(type="FiveCrop", size=4), "PIL"),
    ],
)
@pytest.mark.filterwarnings("ignore:The transform `ToTensor")
def test_what_is_no_rgb_of_8_bits_is_refused(step, found):
    with pytest.raises(ValueError, match=f"must give an image or uint8 .*they give .*{found}"):
        build_transforms([step])(IMAGE)
