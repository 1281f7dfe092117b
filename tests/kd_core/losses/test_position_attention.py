import math

import pytest
import torch

from kd_core.losses import PositionAttentionLoss


def row(*values):
    return torch.tensor(values).reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    "form, student, teacher, expected",
    [
        # Cosines all 1, against 1 on and -1 off the diagonal: two of four squares are 4.
        ("cosine", row(1.0, 1.0), row(2.0, -3.0), 2.0),
        # Rows (1/2, 1/2) twice, against (3/4, 1/4) and (1/2, 1/2).
        ("softmax", row(0.0, 0.0), row(math.log(3) ** 0.5, 0.0), 2 * 0.25**2 / 4),
        # 2 * (1/2, 1/2) against 2 * (3/4, 1/4).
        ("spatial", row(1.0, -1.0), row(-0.5 * math.log(3), 0.0), 0.25),
    ],
)
def test_value_worked_out_by_hand(form, student, teacher, expected):
    value = PositionAttentionLoss(form)(student, teacher)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_scale_of_each_sample_matters_only_to_the_softmax_forms():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    scaled = torch.tensor([7.0, 0.01]).reshape(2, 1, 1, 1) * student
    change = {
        form: (loss(scaled, teacher) / loss(student, teacher) - 1).abs().item()
        for form in ("cosine", "softmax", "spatial")
        for loss in [PositionAttentionLoss(form)]
    }
    assert change["cosine"] < 1e-4 and change["softmax"] > 0.1 and change["spatial"] > 0.1


def test_orthogonal_mixing_of_channels_does_not_matter():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    mixing, _ = torch.linalg.qr(torch.randn(4, 4))
    mixed = torch.einsum("dc,nchw->ndhw", mixing, student)
    loss = PositionAttentionLoss()
    assert loss(mixed, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_maps_are_pooled_to_side():
    student, teacher = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)
    small = [torch.nn.functional.adaptive_avg_pool2d(x, 2) for x in (student, teacher)]
    pooled, plain = PositionAttentionLoss(side=2)(student, teacher), PositionAttentionLoss()(*small)
    assert pooled.item() == pytest.approx(plain.item(), rel=1e-5)


def test_one_position_is_like_itself():
    student, teacher = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    value = PositionAttentionLoss(side=1)(student, teacher).item()
    assert value == pytest.approx(0, abs=1e-6)


def test_side_is_sixteen_by_default():
    student, teacher = torch.randn(1, 2, 18, 18), torch.randn(1, 2, 18, 18)
    expected = PositionAttentionLoss(side=16)(student, teacher).item()
    assert PositionAttentionLoss()(student, teacher).item() == expected


@pytest.mark.parametrize(
    "options, message",
    [
        ({"form": "other"}, r"form must be one of \['cosine', 'softmax', 'spatial'\]"),
        ({"side": 0}, "side must be at least 1, but it is 0"),
    ],
)
def test_bad_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PositionAttentionLoss(**options)
