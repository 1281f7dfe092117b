import pytest
import torch

from kd_core.losses import SimilarityPreservingLoss


def test_value_worked_out_by_hand():
    # G is the identity against rows (1, 1) / sqrt(2): two rows differ by 2 - sqrt(2), N^2 is 4.
    student, teacher = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    expected = 2 * (2 - 2**0.5) / 4
    assert SimilarityPreservingLoss()(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_authors_code(agrees_with_reference):
    # https://github.com/HobbitLong/RepDistiller, distiller_zoo/SP.py,
    # commit b84f547c5db6a35318d4671d7d5c4de74c822403.
    agrees_with_reference("similarity_preserving", SimilarityPreservingLoss())


def test_order_of_the_batch_does_not_matter():
    student, teacher = torch.randn(5, 4, 3, 3), torch.randn(5, 6, 2, 2)
    order = torch.tensor([3, 0, 4, 1, 2])
    loss = SimilarityPreservingLoss()
    assert loss(student[order], teacher[order]).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )
