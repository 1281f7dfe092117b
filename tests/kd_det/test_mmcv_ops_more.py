"""Operators of mmcv that few detectors need: deformable RoI pooling, masked convolution, ..."""

import pytest
import torch
from torch import nn

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators
from kd_det.mmcv_ops import provide_ops

# isort: split
from mmcv.ops import deform_roi_pool, line_nms, masked_conv2d, roi_align
from mmcv.ops.sync_bn import SyncBatchNormFunction

pytestmark = pytest.mark.skipif(provide_ops() == "compiled", reason="mmcv has compiled operators")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


ROIS = torch.tensor([[0, 2.0, 3, 11, 14], [1, 0, 0, 15, 8], [1, 4, 4, 9, 12], [0, 5, 5, 5, 5]])


@pytest.mark.parametrize("ratio", [0, 2])
def test_deformable_pooling_without_offsets_is_roi_align(ratio):
    features = torch.randn(2, 3, 16, 16, requires_grad=True)
    found = deform_roi_pool(features, ROIS, None, (3, 2), 1.0, ratio)
    wanted = roi_align(features, ROIS, (3, 2), 1.0, ratio, "avg", True)
    torch.testing.assert_close(found, wanted)
    (ours,) = torch.autograd.grad(found.square().sum(), features)
    (theirs,) = torch.autograd.grad(wanted.square().sum(), features)
    torch.testing.assert_close(ours, theirs)


def test_an_offset_of_all_bins_moves_the_roi():
    features = torch.randn(2, 3, 24, 24)
    rois = torch.tensor([[0, 4.0, 6, 12, 16]])  # 8 x 10
    offset = torch.zeros(1, 2, 2, 2)
    offset[:, 0], offset[:, 1] = 2.5, -1.0  # x, y; times gamma and the RoI's size: 2 and -1
    found = deform_roi_pool(features, rois, offset, (2, 2), 1.0, 2, 0.1)
    moved = torch.tensor([[0, 6.0, 5, 14, 15]])
    torch.testing.assert_close(found, roi_align(features, moved, (2, 2), 1.0, 2, "avg", True))


def test_gradients_of_deformable_pooling():
    features = torch.randn(2, 2, 16, 16, dtype=torch.double, requires_grad=True)
    offset = (torch.rand(3, 2, 2, 2, dtype=torch.double) * 0.1).requires_grad_()
    rois = ROIS[:3].double()

    def pool(features, offset):
        return deform_roi_pool(features, rois, offset, (2, 2), 1.0, 2, 0.1)

    assert torch.autograd.gradcheck(pool, (features, offset))


def test_a_masked_convolution_is_the_plain_one_at_its_places():
    features, mask = torch.randn(1, 3, 6, 5), torch.rand(1, 6, 5) > 0.6
    conv = nn.Conv2d(3, 4, 3, padding=1)
    found = masked_conv2d(features, mask, conv.weight, conv.bias, 1)
    assert mask.any()
    torch.testing.assert_close(found, conv(features) * mask)
    assert not masked_conv2d(features, mask & False, conv.weight, conv.bias, 1).any()


def test_a_synchronized_norm_of_one_rank_is_a_batch_norm():
    plain = nn.BatchNorm2d(3, momentum=0.3)
    with torch.no_grad():
        plain.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        plain.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    mean, var = torch.zeros(3), torch.ones(3)
    weight, bias = (p.detach().clone().requires_grad_() for p in (plain.weight, plain.bias))
    images = torch.randn(4, 3, 5, 6)
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    found = SyncBatchNormFunction.apply(
        ours, mean, var, weight, bias, 0.3, plain.eps, None, 1, "default"
    )
    wanted = plain(theirs)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close((mean, var), (plain.running_mean, plain.running_var))
    found.pow(3).sum().backward()
    wanted.pow(3).sum().backward()
    for one, other in ((ours, theirs), (weight, plain.weight), (bias, plain.bias)):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


def lane(x, start=0.0, length=72.0):
    return torch.cat([torch.tensor([0.0, 1.0, start, 0.0, length]), torch.full((72,), x)])


def test_lanes_near_a_better_one_go():
    lanes = torch.stack([lane(100.0), lane(108.0), lane(140.0), lane(101.0, start=0.9, length=5.0)])
    scores = torch.tensor([0.6, 0.9, 0.7, 0.5])
    keep, number, parent = line_nms(lanes, scores, 10.0, 4)
    assert keep[: int(number)].tolist() == [1, 2]  # the best, and the one that is 32 pixels away
    assert parent.tolist() == [1, 1, 2, 1]
    keep, number, _ = line_nms(lanes, scores, 1.0, 3)
    assert keep[: int(number)].tolist() == [1, 2, 0]  # no more than three
    apart = torch.stack([lane(100.0, length=20.0), lane(100.0, start=0.5, length=20.0)])
    assert int(line_nms(apart, scores[:2], 10.0, 4)[1]) == 2  # no row in common
