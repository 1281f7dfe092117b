import pytest
import torch

from kd_core.dense import giou, rows_of, total_weight, weighted_mean


def test_rows_are_in_the_order_of_mmdet():
    """Level, image, height, width, anchor; then the values of an anchor."""
    level = torch.arange(2 * 6 * 2 * 3.0).reshape(2, 6, 2, 3)
    rows = rows_of([level, level[:, :, :1, :1]], anchors=2, name="scores")
    assert rows.shape == (2 * 2 * 3 * 2 + 2 * 2, 3)
    assert torch.equal(rows[1], level[0, 3:, 0, 0])  # the second anchor of the first place
    assert torch.equal(rows[2], level[0, :3, 0, 1])
    assert torch.equal(rows[12], level[1, :3, 0, 0])
    assert torch.equal(rows[24], level[0, :3, 0, 0])


def test_overlap_of_all_pairs():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]])
    found = giou(boxes[:, None], boxes[None])
    expected = torch.tensor([[1.0, -1 / 3], [-1 / 3, 1.0]])
    torch.testing.assert_close(found, expected)


def test_weights_are_averaged_over_the_ranks(monkeypatch):
    weights = torch.tensor([2.0, 1.0])
    assert total_weight(weights).item() == 3.0
    assert total_weight(weights / 10).item() == 1.0
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda one: one.add_(7.0))
    assert total_weight(weights).item() == 5.0 and torch.equal(weights, torch.tensor([2.0, 1.0]))


def test_weights_of_another_shape_are_not_broadcast():
    assert weighted_mean(torch.ones(3), torch.tensor([1.0, 0.0, 2.0]), 2.0).item() == 1.5
    with pytest.raises(ValueError, match=r"one for each anchor, \(3,\), but they are \(3, 1\)"):
        weighted_mean(torch.ones(3), torch.ones(3, 1), 2.0)
