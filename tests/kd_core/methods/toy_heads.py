"""Heads, stages and divergences by hand, in plain torch; for the tests of what has heads."""

import torch
from torch.nn import functional as F

from ...kd_cls.toy_classifiers import batch


def run(network, training):
    """Run a classifier: its logits, the maps of its three stages and its pooled vector."""
    found = {}
    handles = [
        network.get_submodule(f"network.{name}").register_forward_hook(
            lambda _, inputs, output, name=name: found.__setitem__(name, output)
        )
        for name in ("stage1", "stage2", "stage3", "pool")
    ]
    logits = network.train(training)(network.data_preprocessor(batch(), True)["inputs"])
    for handle in handles:
        handle.remove()
    return logits, [found["stage1"], found["stage2"], found["stage3"]], found["pool"]


def head_by_hand(head, features, training):
    """Vector and logits of a head behind a map, its layers written out; maps become 4 x 4."""
    state = dict(head.named_parameters()) | dict(head.named_buffers())
    factor = features.shape[2] // 4
    small = F.avg_pool2d(features, factor)
    found = F.conv2d(small, state["convolution.0.weight"], padding=1)
    mean, var = state["convolution.1.running_mean"], state["convolution.1.running_var"]
    if training:
        mean, var = found.mean((0, 2, 3)), found.var((0, 2, 3), unbiased=False)
    scale = state["convolution.1.weight"] / (var + 1e-5).sqrt()
    shift = state["convolution.1.bias"] - mean * scale
    vector = (found * scale[:, None, None] + shift[:, None, None]).clamp(min=0).mean((2, 3))
    return vector, vector @ state["classifier.weight"].T + state["classifier.bias"]


def divergence(learner, target, temperature):
    """t^2 * KL(target || learner) of softened logits, mean over the batch."""
    log_p = (target.detach() / temperature).log_softmax(1)
    log_q = (learner / temperature).log_softmax(1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum() / len(learner)


def same_gradients(found, expected, own, by_hand):
    """Require equal gradients of two sums of losses, each with respect to its own parameters."""
    found = torch.autograd.grad(sum(found.values()), own, allow_unused=True)
    expected = torch.autograd.grad(sum(expected.values()), by_hand, allow_unused=True)
    assert any(one is not None for one in found)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
