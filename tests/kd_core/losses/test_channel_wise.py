import math

import pytest
import torch

from kd_core.losses import ChannelWiseLoss


def test_value_worked_out_by_hand():
    # One of two channels differs: positions (3/4, 1/4) for the teacher, (1/2, 1/2) for the student.
    teacher = torch.tensor([[2 * math.log(3), 0.0], [1.0, 1.0]]).reshape(1, 2, 1, 2)
    expected = 4 / 2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    value = ChannelWiseLoss(temperature=2.0)(torch.zeros(1, 2, 1, 2), teacher)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_authors_code(agrees_with_reference):
    # https://github.com/open-mmlab/mmrazor, mmrazor/models/losses/cwd.py,
    # commit 90c7af1fdf35a606a2fceaaeb4b6be2f0dac4eb7; temperature 4, divided by C*N.
    agrees_with_reference("channel_wise", ChannelWiseLoss())


def test_offset_of_each_channel_does_not_matter():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = ChannelWiseLoss()
    shifted = student + torch.randn(2, 4, 1, 1)
    assert loss(shifted, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, but it is -1"):
        ChannelWiseLoss(-1)


def test_a_preset_gives_the_temperature_that_is_not_given():
    assert ChannelWiseLoss().temperature == 4.0
    assert ChannelWiseLoss(preset="detector").temperature == 1.0
    assert ChannelWiseLoss(2.0, preset="detector").temperature == 2.0
    with pytest.raises(ValueError, match=r"preset must be one of \['detector', 'segmenter'\]"):
        ChannelWiseLoss(preset="classifier")
