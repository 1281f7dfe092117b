import pytest
import torch

from kd_core.losses import FlowOfSolutionProcedureLoss


def stages(*shapes):
    return [torch.randn(2, *shape) for shape in shapes]


def test_value_worked_out_by_hand():
    # The student's first stage (1, 3, 5, 7) is pooled to 4, times (2, 0): products 8 and 0.
    student = [
        torch.tensor([1.0, 3.0, 5.0, 7.0]).reshape(1, 1, 2, 2),
        torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1),
    ]
    # The teacher's (1, 1) times rows (2, 4) and (6, 0), mean over two positions: 3 and 3.
    teacher = [torch.ones(1, 1, 1, 2), torch.tensor([2.0, 4.0, 6.0, 0.0]).reshape(1, 2, 1, 2)]
    value = FlowOfSolutionProcedureLoss()(student, teacher)
    assert value.item() == pytest.approx((5**2 + 3**2) / 2)


def test_authors_code(recorded):
    # https://github.com/HobbitLong/RepDistiller, distiller_zoo/FSP.py,
    # commit b84f547c5db6a35318d4671d7d5c4de74c822403.
    data = recorded("flow_of_solution_procedure")
    student = [data[f"student_{place}"].requires_grad_() for place in ("first", "second")]
    teacher = [data[f"teacher_{place}"] for place in ("first", "second")]
    value = FlowOfSolutionProcedureLoss()(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(data["value"].item(), rel=1e-4)
    for stage, place in zip(student, ("first", "second"), strict=True):
        expected = data[f"grad_student_{place}"]
        limit = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(stage.grad, expected, rtol=1e-4, atol=limit)


def test_every_pair_of_neighbors_counts_once():
    shapes = (3, 8, 8), (4, 4, 4), (5, 2, 2)
    student, teacher = stages(*shapes), stages(*shapes)
    loss = FlowOfSolutionProcedureLoss()
    pairs = [loss(student[i : i + 2], teacher[i : i + 2]).item() for i in range(2)]
    assert loss(student, teacher).item() == pytest.approx(sum(pairs), rel=1e-5)


def test_common_order_of_positions_does_not_matter():
    student, teacher = stages((3, 4, 4), (5, 4, 4)), stages((3, 2, 2), (5, 2, 2))
    loss = FlowOfSolutionProcedureLoss()
    flipped = [stage.flip(2) for stage in student]
    assert loss(flipped, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)
    assert abs(loss([flipped[0], student[1]], teacher) - loss(student, teacher)) > 1e-3


def test_one_stage_is_refused():
    with pytest.raises(ValueError, match="two or more consecutive stages, but they have one"):
        FlowOfSolutionProcedureLoss()(stages((3, 4, 4)), stages((3, 4, 4)))


def test_another_number_of_stages_is_refused():
    shapes = (3, 4, 4), (5, 2, 2)
    with pytest.raises(ValueError, match="same number of levels"):
        FlowOfSolutionProcedureLoss()(stages(*shapes), stages(*shapes, shapes[0]))
