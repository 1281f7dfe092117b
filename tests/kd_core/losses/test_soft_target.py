import math

import pytest
import torch
from torch.nn import functional as F

from kd_core.losses import SoftTargetLoss


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_value_worked_out_by_hand(temperature):
    # Teacher (3/4, 1/4) at this temperature, student (1/2, 1/2).
    teacher = torch.tensor([[temperature * math.log(3), 0.0]])
    expected = temperature**2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    value = SoftTargetLoss(temperature)(torch.zeros(1, 2), teacher)
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name, temperature", [("soft_target", 4.0), ("ccskd_response", 1.0)])
def test_authors_code(agrees_with_reference, name, temperature):
    # soft_target: https://github.com/HobbitLong/RepDistiller, distiller_zoo/KD.py,
    # commit b84f547c5db6a35318d4671d7d5c4de74c822403. ccskd_response:
    # https://github.com/gjplab/CCSKD, losses/kd_loss.py,
    # commit be59d62c2424a0463b74df6462d79cc2f58bb003.
    agrees_with_reference(name, SoftTargetLoss(temperature))


def test_authors_code_of_assistants(recorded):
    # https://github.com/imirzadeh/Teacher-Assistant-Knowledge-Distillation, train.py, commit
    # 0f8168f4e7223134361cdd411eba0ab3b1123e29: lambda 0.6, temperature 5; its mean is over classes.
    found = recorded("takd")
    student = found["student"].requires_grad_()
    soft = SoftTargetLoss(temperature=5.0, loss_weight=0.6 / student.shape[1])
    entropy = F.cross_entropy(student, found["labels"].long())
    value = 0.4 * entropy + soft(student, found["teacher"])
    value.backward()
    assert value.item() == pytest.approx(found["value"].item(), rel=1e-5)
    torch.testing.assert_close(student.grad, found["grad_student"], rtol=1e-4, atol=1e-7)


def test_default_temperature_is_four():
    assert SoftTargetLoss().temperature == 4


def test_offset_of_the_logits_does_not_matter():
    student, teacher = torch.randn(4, 10), torch.randn(4, 10)
    loss = SoftTargetLoss()
    assert loss(student + 5, teacher - 3).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


def test_other_classes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 10\) and teacher is \(4, 12\)"):
        SoftTargetLoss()(torch.randn(4, 10), torch.randn(4, 12))


def test_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, but it is 0"):
        SoftTargetLoss(0)
