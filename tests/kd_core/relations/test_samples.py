import pytest
import torch

from kd_core.relations import samples as relation

FUNCTIONS = [
    relation.similarities,
    relation.distances,
    relation.relative_distances,
    relation.gaussian_kernel,
]


def test_distances_worked_out_by_hand():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert relation.distances(rows).tolist() == [[0.0, 5.0], [5.0, 0.0]]
    assert relation.relative_distances(rows).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    row = torch.tensor([1.0, torch.exp(torch.tensor(-0.1 * 25)).item()])
    torch.testing.assert_close(relation.gaussian_kernel(rows, gamma=0.1)[0], row / row.norm())


def test_each_row_of_a_gaussian_kernel_has_length_one():
    rows = torch.tensor([[0.0], [1.0], [3.0]])
    values = torch.tensor([[0.0, -1.0, -9.0], [-1.0, 0.0, -4.0], [-9.0, -4.0, 0.0]]).mul(0.1).exp()
    expected = values / values.square().sum(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(relation.gaussian_kernel(rows, gamma=0.1), expected)
    # gamma is 0.4 by default: the kernel of half the distances, exp(-0.1 d^2), has the same rows.
    torch.testing.assert_close(relation.gaussian_kernel(rows / 2), expected)


def test_close_samples_keep_their_distance():
    # |x|^2 + |y|^2 - 2<x, y> in float32 would lose a distance of 1e-3 at length 1e3.
    rows = torch.full((30, 4), 500.0)  # from 26 rows on, torch would choose inner products
    rows[1, 0] += 2**-10
    assert relation.distances(rows)[0, 1].item() == pytest.approx(2**-10, rel=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_columns_default_to_the_rows(function):
    rows = torch.randn(4, 3, 2, 2)
    assert torch.equal(function(rows), function(rows, rows))
    assert function(rows[:2], rows).shape == (2, 4)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_equal_samples_keep_gradients_finite(function):
    rows = torch.ones(3, 4, requires_grad=True)
    function(rows).sum().backward()
    assert torch.isfinite(rows.grad).all()


def test_angles_from_some_vertices_average_to_those_from_all():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    order = [*range(3, 6), *range(3)]
    halves = [
        relation.angle_difference(student, teacher, vertices=3),
        relation.angle_difference(student[order], teacher[order], vertices=3),
    ]
    expected = relation.angle_difference(student, teacher)
    assert sum(halves).item() / 2 == pytest.approx(expected.item(), rel=1e-4)


def test_equal_samples_have_no_direction_and_get_no_gradient_from_it():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), torch.randn(5, 3)
    student[1] = student[0]

    def cosines(rows):
        offsets = rows.unsqueeze(0) - rows.unsqueeze(1)
        squares = offsets.square().sum(dim=2, keepdim=True)
        units = torch.where(squares > 0, offsets * squares.clamp(min=1e-12).rsqrt(), 0.0)
        return units @ units.transpose(1, 2)

    ours, plain = student.clone().requires_grad_(), student.clone().requires_grad_()
    value = relation.angle_difference(ours, teacher)
    expected = torch.nn.functional.smooth_l1_loss(cosines(plain), cosines(teacher))
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(ours.grad, plain.grad)


def test_similarity_scores_by_hand():
    rows = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, -2.0]])
    expected = torch.tensor([[0.6, 0.0], [0.6, -0.8], [0.0, -0.8]])
    torch.testing.assert_close(relation.similarity_scores(rows, scale=1.0), expected)
    torch.testing.assert_close(relation.similarity_scores(5 * rows), 10 * expected)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_similarity_scores_of_zeros_and_of_one_sample(count):
    rows = torch.zeros(count, 3, requires_grad=True)
    scores = relation.similarity_scores(rows)
    assert scores.shape == (count, count - 1) and not scores.any()
    scores.sum().backward()
    assert torch.isfinite(rows.grad).all()
