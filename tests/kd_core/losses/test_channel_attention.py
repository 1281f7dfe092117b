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
        # Strengths (3, 4) against (0, 2): sqrt(2) times (0.6, 0.8) against (0, 1).
        ("pooled_unit", channels((3.0, -3.0), (8.0, 0.0)), channels((0.0, 0.0), (2.0, 2.0)), 0.4),
        # Means (1, 0) against (3, 0), whose mean square is 9 / 2.
        (
            "pooled_batch",
            channels((0.0, 2.0), (1.0, -1.0)),
            channels((3.0, 3.0), (0.0, 0.0)),
            4 / 9,
        ),
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


def test_power_of_the_pooled_strengths():
    # Mean squares (2, 0) against (0, 8): sqrt(2) times (1, 0) against (0, 1).
    student, teacher = channels((2.0, 0.0), (0.0, 0.0)), channels((0.0, 0.0), (4.0, 0.0))
    assert ChannelAttentionLoss("pooled_unit", 2.0)(student, teacher).item() == pytest.approx(2.0)
    # Mean squares (5, 12.5): (0.4, 1) / sqrt(1.16). Mean strengths (2, 2.5): (0.8, 1) / sqrt(1.64).
    student, teacher = channels((1.0, 3.0), (0.0, 5.0)), channels((0.0, 0.0), (1.0, 1.0))
    for power, cosine in ((1.0, 1.64**-0.5), (2.0, 1.16**-0.5)):
        value = ChannelAttentionLoss("pooled_unit", power)(student, teacher)
        assert value.item() == pytest.approx(2 - 2 * cosine, rel=1e-5)


FORMS = ["cosine", "icc", "softmax", "pooled", "pooled_unit", "pooled_batch"]


@pytest.mark.parametrize("form", FORMS)
def test_whose_scale_counts(form):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 3) + 0.2, torch.randn(2, 4, 3, 3) + 0.2
    loss = ChannelAttentionLoss(form)
    each = torch.tensor([7.0, 0.01]).reshape(2, 1, 1, 1)
    pairs = {
        "student": (10 * student, teacher),
        "teacher": (student, 10 * teacher),
        "sample": (each * student, teacher),
        "both": (10 * student, 10 * teacher),
    }
    expected = loss(student, teacher).item()
    counts = {name for name, pair in pairs.items() if abs(loss(*pair).item() / expected - 1) > 1e-3}
    free = {"cosine", "icc", "pooled_unit"}
    relative = {"student", "teacher", "sample"}
    assert counts == (set() if form in free else relative if form == "pooled_batch" else set(pairs))


def test_bad_power_is_refused():
    with pytest.raises(ValueError, match=r"power must be at least 1, but it is 0\.5"):
        ChannelAttentionLoss("pooled_unit", 0.5)


def test_order_of_channels_matters():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = ChannelAttentionLoss()
    shuffled = student[:, [2, 0, 3, 1]]
    assert (loss(shuffled, teacher) - loss(student, teacher)).abs() > 1e-3
    assert loss(shuffled, student) > 1e-3


def test_bad_form_is_refused():
    with pytest.raises(
        ValueError, match=r"form must be one of \['cosine', 'icc', 'pooled', 'pooled_b"
    ):
        ChannelAttentionLoss("other")
