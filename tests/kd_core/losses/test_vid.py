import copy
import math

import pytest
import torch

from kd_core.losses import VIDLoss


def prepared(student, teacher, **options):
    loss = VIDLoss(**options)
    loss.prepare(student, teacher)
    return loss


def test_value_worked_out_by_hand():
    student, teacher = torch.tensor([3.0]).reshape(1, 1, 1, 1), torch.tensor([[2.0], [7.0]])
    loss = prepared(student, teacher.reshape(1, 2, 1, 1), initial_variance=4.0)
    first, _, second, _, third = loss.levels[0].mean
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[2.0], [-1.0]]).reshape(2, 1, 1, 1))  # (6, -3) -> (6, 0)
        second.weight.copy_(torch.tensor([[1.0, 5.0], [0.5, 5.0]]).reshape(2, 2, 1, 1))  # (6, 3)
        third.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 1.0]]).reshape(2, 2, 1, 1))  # (3, 3)
    expected = ((1 + 16) / 4 / 2 + math.log(4)) / 2
    value = loss(student, teacher.reshape(1, 2, 1, 1))
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variance", [1e-3, 0.5, 5.0, 200.0])
def test_initial_variance(variance):
    loss = prepared(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 2, 2), initial_variance=variance)
    value = loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 2, 2))  # all that is left is log(var)
    assert value.item() == pytest.approx(math.log(variance) / 2, rel=1e-3)


def test_authors_code(recorded):
    # https://github.com/HobbitLong/RepDistiller, distiller_zoo/VID.py,
    # commit 1e2f81692647991a80a1e97ffa14e2af915eaa6f; its weights and inputs are recorded.
    data = recorded("variational_information")
    student = data["student"].requires_grad_()
    loss = prepared(student, data["teacher"])
    (level,) = loss.levels
    convolutions = [level.mean[place] for place in (0, 2, 4)]
    with torch.no_grad():
        level.variance.copy_(data["scale"])
        for number, layer in enumerate(convolutions):
            layer.weight.copy_(data[f"weight_{number}"])
    value = loss(student, data["teacher"])
    value.backward()
    assert value.item() == pytest.approx(data["value"].item(), rel=1e-4)
    found = {"student": student.grad, "scale": level.variance.grad}
    found |= {f"weight_{number}": layer.weight.grad for number, layer in enumerate(convolutions)}
    for name, gradient in found.items():
        expected = data[f"grad_{name}"]
        limit = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=limit)


def test_common_order_of_positions_does_not_matter():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    loss = prepared(student, teacher)
    assert loss(student.flip(2), teacher.flip(2)).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )
    assert abs(loss(student.flip(2), teacher) - loss(student, teacher)) > 1e-5


def test_levels_have_parameters_of_their_own_and_are_summed():
    student = [torch.randn(2, 3, 4, 4), torch.randn(2, 6, 2, 2)]
    teacher = [torch.randn(2, 5, 8, 8), torch.randn(2, 7, 2, 2)]
    loss = prepared(student, teacher)
    value = loss(student, teacher).item()
    alone = []
    for level in range(2):
        part = copy.deepcopy(loss)
        part.levels = torch.nn.ModuleList([part.levels[level]])
        alone.append(part(student[level], teacher[level]).item())
    assert value == pytest.approx(sum(alone), rel=1e-5)


def test_a_variance_falls_where_the_teacher_is_told_well_and_rises_where_not():
    student = torch.zeros(2, 3, 4, 4)  # told is 0 everywhere
    teacher = torch.tensor([1.0, 5.0**0.5, 3.0]).reshape(1, 3, 1, 1).expand(2, 3, 4, 4)
    loss = prepared(student, teacher, initial_variance=5.0)
    loss(student, teacher).backward()
    falls, stays, rises = loss.levels[0].variance.grad
    assert falls > 1e-3 and stays.abs() < 1e-6 and rises < -1e-3


def test_what_fits_stays_when_prepared_again():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    loss = prepared(student, teacher)
    level = loss.levels[0]
    loss.prepare(torch.randn(1, 3, 9, 9), torch.randn(1, 5, 2, 2))
    assert loss.levels[0] is level
    loss.prepare(student, torch.randn(2, 6, 4, 4))
    assert loss.levels[0] is not level and len(loss.levels) == 1


def test_maps_that_it_was_not_prepared_for_are_refused():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    with pytest.raises(ValueError, match=r"channels \[\], but the maps have \[\(3, 5\)\].*prepare"):
        VIDLoss()(student, teacher)
    with pytest.raises(ValueError, match=r"\[\(3, 5\)\], but the maps have \[\(3, 6\)\]"):
        prepared(student, teacher)(student, torch.randn(2, 6, 4, 4))


def test_bad_variance_is_refused():
    with pytest.raises(ValueError, match="initial_variance must be above 1e-05, but it is 0"):
        VIDLoss(initial_variance=0)
