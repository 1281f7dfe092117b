import math

import pytest
import torch

from kd_core.losses import CorrelationCongruenceLoss


def test_code_in_common_use(agrees_with_reference):
    # https://github.com/AberHu/Knowledge-Distillation-Zoo, kd_losses/cc.py,
    # commit 65470c846c1300d555815da26999cbe2b51fc815.
    agrees_with_reference("correlation_congruence", CorrelationCongruenceLoss())


def test_a_long_series_is_the_gaussian_kernel():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    units = [torch.nn.functional.normalize(x, dim=1) for x in (student, teacher)]
    kernels = [torch.exp(-0.7 * torch.cdist(x, x).square()) for x in units]
    expected = (kernels[0] - kernels[1]).square().mean().item()
    loss = CorrelationCongruenceLoss(gamma=0.7, order=12)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-3)


def test_value_worked_out_by_hand():
    # Cosines 1 and 0 against 1 and 1: off the diagonal the kernels differ by exp(-0.8) * 1.12.
    value = CorrelationCongruenceLoss()(torch.eye(2), torch.ones(2, 3)).item()
    assert value == pytest.approx((math.exp(-0.8) * (0.8 + 0.32)) ** 2 / 2)
    linear = CorrelationCongruenceLoss(order=1)(torch.eye(2), torch.ones(2, 3)).item()
    assert linear == pytest.approx((math.exp(-0.8) * 0.8) ** 2 / 2)


def test_rotation_and_scale_do_not_matter():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4))
    loss = CorrelationCongruenceLoss()
    assert loss(3 * student @ rotation, teacher).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


@pytest.mark.parametrize("options", [dict(gamma=0.0), dict(order=0)])
def test_numbers_out_of_range(options):
    with pytest.raises(
        ValueError, match="gamma must be above 0, but it is 0|order must be at least 1, but it is 0"
    ):
        CorrelationCongruenceLoss(**options)
