import math

import pytest
import torch

from kd_core.losses import ChannelAttentionLoss


def channels(*rows):
    return torch.tensor(rows).reshape(1, len(rows), 1, -1)


@pytest.mark.parametrize(
    "form, student, teacher, expected",
    [
        # Identity against ones: two of four squares are 1.
        ("cosine", channels((3.0, 0.0), (0.0, 2.0)), channels((1.0, 0.0), (5.0, 0.0)), 0.5),
        # Identity against rows (1, 1) / sqrt(2).
        ("icc", channels((1.0, 0.0), (0.0, 1.0)), channels((1.0, 0.0), (1.0, 0.0)), 1 - 0.5**0.5),
        # Rows (1/2, 1/2) twice, against (1/4, 3/4) and (1/2, 1/2).
        ("softmax", channels((0.0,), (0.0,)), channels((math.log(3) ** 0.5,), (0.0,)), 0.03125),
        # Means (1, 0) against (3, 0).
        ("pooled", channels((0.0, 2.0), (1.0, -1.0)), channels((3.0, 3.0), (0.0, 0.0)), 2.0),
    ],
)
def test_value_worked_out_by_hand(form, student, teacher, expected):
    value = ChannelAttentionLoss(form)(student, teacher)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_authors_code_of_icc(agrees_with_reference):
    # https://github.com/ADLab-AutoDrive/ICKD, Cifar100/distiller_zoo/ICKD.py,
    # commit 403b8d3d7c3aaa429e4708870d2be1d4daf92f07: a sum over C*C, divided by C*N; C is 12.
    agrees_with_reference(
        "inter_channel_correlation", ChannelAttentionLoss("icc", loss_weight=12.0)
    )


@pytest.mark.parametrize(
    "form, matters", [("cosine", 0), ("icc", 0), ("softmax", 1), ("pooled", 1)]
)
def test_scale_of_each_sample_matters_only_to_softmax_and_pooled(form, matters):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    scaled = torch.tensor([7.0, 0.01]).reshape(2, 1, 1, 1) * student
    loss = ChannelAttentionLoss(form)
    change = (loss(scaled, teacher) / loss(student, teacher) - 1).abs().item()
    assert (change > 1e-3) == bool(matters)


def test_order_of_channels_matters():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = ChannelAttentionLoss()
    shuffled = student[:, [2, 0, 3, 1]]
    assert (loss(shuffled, teacher) - loss(student, teacher)).abs() > 1e-3
    assert loss(shuffled, student) > 1e-3


def test_bad_form_is_refused():
    with pytest.raises(ValueError, match=r"form must be one of \['cosine', 'icc', 'pooled', 'soft"):
        ChannelAttentionLoss("other")
