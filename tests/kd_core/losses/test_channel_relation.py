import pytest
import torch

from kd_core.losses import ChannelRelationLoss, RelationalAngleLoss, RelationalDistanceLoss


def test_value_worked_out_by_hand():
    # Means 0, 1, 3 against a triangle of equal sides. Distances as in test_relational_distance:
    # 0.5 / 9. Cosines at the three points 1, -1, 1 against 1/2 each, so they differ by 0.5, 1.5
    # and 0.5; each counts twice in 27.
    student = torch.tensor([0.0, 1.0, 3.0]).reshape(3, 1, 1, 1) + torch.tensor([[-1.0, 1.0]])
    angles = 2 * (0.5**2 / 2 + (1.5 - 0.5) + 0.5**2 / 2) / 27
    value = ChannelRelationLoss()(student, torch.eye(3).reshape(3, 3, 1, 1))
    assert value.item() == pytest.approx(0.5 / 9 + 2 * angles, rel=1e-5)


def test_authors_code(agrees_with_reference):
    # https://github.com/gjplab/CCSKD, losses/cd_loss.py,
    # commit be59d62c2424a0463b74df6462d79cc2f58bb003; one stage.
    agrees_with_reference("ccskd_channel_relation", ChannelRelationLoss())


def test_order_of_positions_and_scale_of_all_do_not_matter():
    student, teacher = torch.randn(5, 4, 3, 3), torch.randn(5, 6, 2, 2)
    loss = ChannelRelationLoss()
    assert loss(7 * student.flip(2), teacher).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


def test_pooled_vectors_give_the_same():
    student, teacher = torch.randn(5, 4, 3, 3), torch.randn(5, 6, 2, 2)
    loss, vectors = ChannelRelationLoss(), (student.mean((2, 3)), teacher.mean((2, 3)))
    assert loss(*vectors).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)
    parts = RelationalDistanceLoss()(*vectors) + 2 * RelationalAngleLoss()(*vectors)
    assert loss(*vectors).item() == pytest.approx(parts.item(), rel=1e-5)


def test_tokens_are_refused():
    with pytest.raises(ValueError, match=r"must be a feature map \(N, C, H, W\).*\(5, 4, 3\)"):
        ChannelRelationLoss()(torch.randn(5, 4, 3), torch.randn(5, 6))
