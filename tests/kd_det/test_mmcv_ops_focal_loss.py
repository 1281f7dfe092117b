import pytest
import torch
from torch.nn import functional
from torchvision import ops as reference

from kd_det.mmcv_ops import provide_ops

pytestmark = pytest.mark.skipif(provide_ops() == "compiled", reason="mmcv has compiled operators")


def logits(dtype=torch.float64):
    x = torch.randn(7, 4, generator=torch.manual_seed(0), dtype=torch.float64) * 3
    return x.to(dtype).requires_grad_()


TARGET = torch.tensor([0, 1, 2, 3, 4, 4, 1])  # 4 is the background of four classes


def sigmoid_reference(x, target, gamma, alpha):
    return reference.sigmoid_focal_loss(
        x, functional.one_hot(target, 5)[:, :4].to(x.dtype), alpha=alpha, gamma=gamma
    )


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.6), (0.0, 0.5)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_sigmoid_focal_loss_and_gradient(gamma, alpha, reduction):
    from mmcv.ops import sigmoid_focal_loss

    x = logits()
    expected = sigmoid_reference(x, TARGET, gamma, alpha)
    if reduction != "none":
        expected = expected.sum() / (7 if reduction == "mean" else 1)  # mean over rows
    output = sigmoid_focal_loss(x, TARGET, gamma, alpha, None, reduction)
    torch.testing.assert_close(output, expected)
    wanted, got = (torch.autograd.grad(y.sum(), x)[0] for y in (expected, output))
    torch.testing.assert_close(got, wanted)


def test_sigmoid_focal_loss_of_extreme_logits():
    from mmcv.ops import sigmoid_focal_loss

    x = torch.tensor([[30.0, -30.0], [200.0, -200.0]], requires_grad=True)
    target = torch.tensor([1, 1])
    output = sigmoid_focal_loss(x, target, 2.0, 0.25, None, "none")
    # Both classes are wrong in both rows: -log of the probability is the logit's size.
    torch.testing.assert_close(output, torch.tensor([[22.5, 7.5], [150.0, 50.0]]))
    (grad,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(grad, torch.tensor([[0.75, -0.25], [0.75, -0.25]]))


def test_sigmoid_focal_loss_class_weights():
    from mmcv.ops import sigmoid_focal_loss

    x, weight = logits(), torch.tensor([1.5, 2.0, 0.5, 3.0], dtype=torch.float64)
    of_rows = torch.tensor([1.5, 2, 0.5, 3, 1, 1, 2], dtype=torch.float64)[:, None]
    expected = sigmoid_reference(x, TARGET, 2.0, 0.25) * of_rows
    output = sigmoid_focal_loss(x, TARGET, 2.0, 0.25, weight, "none")
    torch.testing.assert_close(output, expected)
    wanted, got = (torch.autograd.grad(y.sum(), x)[0] for y in (expected, output))
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_sigmoid_focal_loss_other_precisions(dtype, tolerance):
    from mmcv.ops import sigmoid_focal_loss

    x = logits(dtype)
    exact = x.detach().double().requires_grad_()
    output = sigmoid_focal_loss(x, TARGET, 2.0, 0.25, None, "none")
    expected = sigmoid_reference(exact, TARGET, 2.0, 0.25)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, atol=tolerance, rtol=tolerance)
    output.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad.double(), exact.grad, atol=tolerance, rtol=tolerance)


def softmax_reference(x, target, gamma, alpha, weight):
    log_p = functional.log_softmax(x, 1)
    rows = [
        -alpha * weight[t] * (1 - log_p[i, t].exp()) ** gamma * log_p[i, t] if t >= 0 else 0.0
        for i, t in enumerate(target.tolist())
    ]
    return sum(rows)


@pytest.mark.parametrize("gamma", [2.0, 0.5, 0.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_focal_loss_and_gradient(gamma, weighted):
    from mmcv.ops import softmax_focal_loss

    x, target = logits(), torch.tensor([0, 1, 2, 3, -1, 0, 1])  # -1 is ignored
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    expected = softmax_reference(x, target, gamma, 0.25, weight if weighted else torch.ones(4))
    output = softmax_focal_loss(x, target, gamma, 0.25, weight if weighted else None, "sum")
    torch.testing.assert_close(output, expected)
    wanted, got = (torch.autograd.grad(y, x)[0] for y in (expected, output))
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("gamma", [2.0, 0.5, 0.0])
def test_softmax_focal_loss_of_certain_rows_is_finite(gamma):
    from mmcv.ops import softmax_focal_loss

    x = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    output = softmax_focal_loss(x, torch.tensor([0, 1]), gamma, 0.25, None, "mean")
    output.backward()
    assert torch.isfinite(output) and torch.isfinite(x.grad).all()
    assert x.grad[0].abs().max() == 0 and x.grad[1, 1] < 0


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "softmax_focal_loss"])
def test_no_rows(name):
    import mmcv.ops

    x = torch.zeros(0, 4, requires_grad=True)
    output = getattr(mmcv.ops, name)(x, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, "sum")
    output.backward()
    assert output.item() == 0 and x.grad.shape == (0, 4)
