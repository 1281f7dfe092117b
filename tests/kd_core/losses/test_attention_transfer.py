import pytest
import torch

from kd_core.losses import AttentionTransferLoss


def row(*values):
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_value_worked_out_by_hand():
    # One channel, two positions: attention (1, 0) against (0, 1), so each square is 1.
    student, teacher = row(1.0, 0.0), row(0.0, 1.0)
    assert AttentionTransferLoss()(student, teacher).item() == pytest.approx(1.0)
    assert AttentionTransferLoss(reduction="sum")(student, teacher).item() == pytest.approx(2.0)
    assert AttentionTransferLoss(form="paper")(student, teacher).item() == pytest.approx(2**0.5)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_power_worked_out_by_hand(power):
    # |F|^p is (2^p, 0) and (1, 1); unit rows (1, 0) and (1, 1) / sqrt(2).
    expected = ((1 - 0.5**0.5) ** 2 + 0.5) / 2
    value = AttentionTransferLoss(power)(row(-2.0, 0.0), row(1.0, -1.0))
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["attention_transfer", "attention_transfer_rkd"])
def test_authors_code(agrees_with_reference, name):
    # attention_transfer: https://github.com/HobbitLong/RepDistiller, distiller_zoo/AT.py,
    # commit b84f547c5db6a35318d4671d7d5c4de74c822403. attention_transfer_rkd:
    # https://github.com/lenscloth/RKD, metric/loss.py,
    # commit 0a6c3c0c190722d428322bf71703c0ae86c25242.
    agrees_with_reference(name, AttentionTransferLoss())


def test_scale_of_each_sample_does_not_matter():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    scales = torch.tensor([7.0, 0.01]).reshape(2, 1, 1, 1)
    loss = AttentionTransferLoss()
    assert loss(scales * student, teacher).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


def test_orthogonal_mixing_of_channels_does_not_matter():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    mixing, _ = torch.linalg.qr(torch.randn(4, 4))
    mixed = torch.einsum("dc,nchw->ndhw", mixing, student)
    loss = AttentionTransferLoss()
    assert loss(mixed, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_sum_does_not_shrink_as_the_map_grows():
    student, teacher = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8)
    larger = [feature.repeat_interleave(4, 2) for feature in (student, teacher)]
    mean, total = AttentionTransferLoss(), AttentionTransferLoss(reduction="sum")
    assert total(*larger).item() == pytest.approx(total(student, teacher).item(), rel=1e-4)
    assert mean(*larger).item() == pytest.approx(mean(student, teacher).item() / 4, rel=1e-4)


def test_larger_map_is_pooled_to_the_smaller():
    student, teacher = torch.randn(2, 4, 4, 4), torch.randn(2, 6, 8, 8)
    pooled = torch.nn.functional.avg_pool2d(teacher, 2)
    loss = AttentionTransferLoss()
    assert loss(student, teacher).item() == pytest.approx(loss(student, pooled).item(), rel=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"power": 0.5}, "power must be at least 1, but it is 0.5"),
        ({"form": "other"}, r"form must be one of \['code', 'paper'\], but it is 'other'"),
        ({"reduction": "none"}, r"reduction must be one of \['mean', 'sum'\]"),
        ({"form": "paper", "reduction": "sum"}, "reduction must be 'mean' with form='paper'"),
    ],
)
def test_bad_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AttentionTransferLoss(**options)
