import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from kd_det.mmcv_ops import provide_ops

pytestmark = pytest.mark.skipif(provide_ops() == "compiled", reason="mmcv has compiled operators")


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 20
    boxes = torch.cat([corner, corner + 2 + torch.rand(count, 2, generator=generator) * 15], 1)
    return boxes, torch.rand(count, generator=generator)


def iou(a, b, offset=0.0):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b)]
    return width * height / (sum(areas) - width * height)


def greedy_nms(boxes, scores, threshold, offset=0.0):
    kept = []
    for i in np.argsort(-np.array(scores), kind="stable").tolist():
        if all(iou(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
def test_nms_keeps_what_the_greedy_loop_keeps(threshold, offset):
    from mmcv.ops import nms

    boxes, scores = random_boxes(60)
    expected = greedy_nms(boxes.tolist(), scores.tolist(), threshold, offset)
    assert 1 < len(expected) < 60
    dets, kept = nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == expected
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], 1)[expected])


def test_nms_offset_matters():
    from mmcv.ops import nms

    boxes = torch.tensor([[0.0, 0, 3, 3], [0, 0, 3, 1]])  # IoU 1/3, with offset 1/2
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.4, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.4, offset=1)[1].tolist() == [0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_nms_other_precisions(dtype):
    from mmcv.ops import nms

    boxes, scores = (x.to(dtype) for x in random_boxes(40, seed=1))
    dets, kept = nms(boxes, scores, 0.5)
    assert kept.tolist() == greedy_nms(boxes.tolist(), scores.tolist(), 0.5)
    assert dets.dtype == dtype


def test_nms_limits_numpy_and_empty():
    from mmcv.ops import nms

    boxes, scores = random_boxes(30)
    expected = greedy_nms(boxes.tolist(), scores.tolist(), 0.5)
    _, kept = nms(boxes.numpy(), scores.numpy(), 0.5, score_threshold=0.3, max_num=4)
    assert isinstance(kept, np.ndarray)
    assert kept.tolist() == [i for i in expected if scores[i] > 0.3][:4]
    dets, kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5) and kept.shape == (0,)


def test_batched_nms_is_nms_per_class():
    from mmcv.ops import batched_nms

    boxes, scores = random_boxes(60, seed=2)
    labels = torch.arange(60) % 3
    expected = []
    for label in range(3):
        own = (labels == label).nonzero()[:, 0]
        kept = greedy_nms(boxes[own].tolist(), scores[own].tolist(), 0.4)
        expected += own[kept].tolist()
    dets, kept = batched_nms(boxes, scores, labels, {"type": "nms", "iou_threshold": 0.4})
    assert sorted(kept.tolist()) == sorted(expected)
    assert (dets[:, 4].diff() <= 0).all()
    torch.testing.assert_close(dets[:, :4], boxes[kept])


def decay(overlap, method, threshold, sigma):
    if method == "gaussian":
        return np.exp(-(overlap**2) / sigma)
    if overlap < threshold:
        return 1.0
    return 1 - overlap if method == "linear" else 0.0


def soft_nms_loop(boxes, scores, method, threshold, sigma, lowest, offset):
    alive, scores, picked = list(range(len(boxes))), list(scores), []
    while alive:
        best = max(alive, key=lambda i: scores[i])
        picked.append((best, scores[best]))
        alive.remove(best)
        for i in list(alive):
            scores[i] *= decay(iou(boxes[i], boxes[best], offset), method, threshold, sigma)
            if scores[i] < lowest:
                alive.remove(i)
    return picked


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_decays_as_the_loop(method, offset):
    from mmcv.ops import soft_nms

    boxes, scores = random_boxes(40, seed=3)
    expected = soft_nms_loop(boxes.tolist(), scores.tolist(), method, 0.3, 0.5, 0.05, offset)
    assert 1 < len(expected) < 40
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert kept.tolist() == [i for i, _ in expected]
    torch.testing.assert_close(dets[:, 4], boxes.new_tensor([score for _, score in expected]))
    torch.testing.assert_close(dets[:, :4], boxes[kept])


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_of_boxes_without_area(method):
    from mmcv.ops import soft_nms

    boxes = torch.tensor([[4.0, 3, 5, 3], [4, 3, 5, 4], [3, 1, 3, 1], [3, 1, 3, 1], [3, 1, 3, 1]])
    scores = torch.tensor([0.9, 0.8, 0.5, 0.4, 0.0])
    dets, kept = soft_nms(boxes, scores, 0.6, method=method)
    assert kept.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(dets[:, 4], scores[:4])


def test_soft_nms_of_nothing():
    from mmcv.ops import soft_nms

    dets, kept = soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5) and kept.shape == (0,)


def test_nms_match_groups_each_box_with_its_keeper():
    from mmcv.ops import nms_match

    boxes, scores = random_boxes(40, seed=4)
    order, expected = scores.argsort(descending=True).tolist(), []
    rows = boxes.tolist()
    while order:
        group = [order[0], *(i for i in order[1:] if iou(rows[i], rows[order[0]]) >= 0.4)]
        expected.append(group)
        order = [i for i in order if i not in group]
    assert any(len(group) > 1 for group in expected)
    dets = torch.cat([boxes, scores[:, None]], 1)
    assert [group.tolist() for group in nms_match(dets, 0.4)] == expected
    assert [group.tolist() for group in nms_match(dets.numpy(), 0.4)] == expected
    assert nms_match(dets[:0], 0.4) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_bbox_overlaps(dtype):
    from mmcv.ops import bbox_overlaps

    first, second = random_boxes(6)[0].to(dtype), random_boxes(4, seed=5)[0].to(dtype)
    expected = box_iou(first.float(), second.float())
    torch.testing.assert_close(bbox_overlaps(first, second), expected.to(dtype))
    aligned = bbox_overlaps(first[:4], second, aligned=True)
    torch.testing.assert_close(aligned, expected[:4].diagonal().to(dtype))
    assert bbox_overlaps(first[:0], second).shape == (0, 4)


def test_bbox_overlaps_modes_and_offset():
    from mmcv.ops import bbox_overlaps

    first, second = torch.tensor([[0.0, 0, 3, 3]]), torch.tensor([[1.0, 0, 6, 3]])
    assert bbox_overlaps(first, second, mode="iof").item() == pytest.approx(6 / 9)
    assert bbox_overlaps(first, second, offset=1).item() == pytest.approx(12 / (16 + 24 - 12))
