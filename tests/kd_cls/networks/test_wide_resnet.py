import pytest
import torch
from torch.nn import functional

from kd_cls.networks import WideResNet


def norm_relu(features, state, prefix):
    statistics = (state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"])
    affine = (state[f"{prefix}.weight"], state[f"{prefix}.bias"])
    return functional.batch_norm(features, *statistics, *affine).relu()


def block_by_hand(features, state, stride):
    """Figure 1 of the paper, and the shortcut of https://github.com/HobbitLong/RepDistiller."""
    active = norm_relu(features, state, "activation.0")
    out = functional.conv2d(active, state["residual.0.weight"], stride=stride, padding=1)
    out = norm_relu(out, state, "residual.1")
    out = functional.conv2d(out, state["residual.3.weight"], padding=1)
    if "shortcut.weight" not in state:
        return features + out
    return functional.conv2d(active, state["shortcut.weight"], stride=stride) + out


@pytest.mark.parametrize(
    ("path", "channels", "stride", "shortcut"),
    [
        ("stage1.0", 16, 1, True),
        ("stage1.1", 32, 1, False),
        ("stage2.0", 32, 2, True),
        ("stage3.1", 128, 1, False),
    ],
)
def test_a_block_by_hand(path, channels, stride, shortcut):
    torch.manual_seed(0)
    block = WideResNet(depth=16, width=2, num_classes=10).get_submodule(path).eval()
    for value in block.state_dict().values():
        if value.dim() == 1:
            value.uniform_(0.5, 1.5)
    state = block.state_dict()
    assert ("shortcut.weight" in state) is shortcut
    features = torch.randn(2, channels, 8, 8)
    torch.testing.assert_close(block(features), block_by_hand(features, state, stride))


def test_what_is_pooled_is_normed_and_activated():
    torch.manual_seed(0)
    network = WideResNet(depth=10, width=1, num_classes=10).eval()
    features = torch.randn(2, 64, 8, 8)
    by_hand = norm_relu(features, network.state_dict(), "last.0")
    torch.testing.assert_close(network.last(features), by_hand)
    assert network.stage1(network.stem(torch.randn(2, 3, 32, 32))).min() < 0  # a stage is not


def test_width_1_needs_no_shortcut_in_the_first_stage():
    network = WideResNet(depth=16, width=1, num_classes=10)
    assert network.stage1[0].shortcut is None
    assert network.stage2[0].shortcut is not None


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 4.*but it is 18"):
        WideResNet(depth=18, width=2, num_classes=10)
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 4.*but it is 4"):
        WideResNet(depth=4, width=2, num_classes=10)
    with pytest.raises(ValueError, match="width must be at least 1, but it is 0"):
        WideResNet(depth=16, width=0, num_classes=10)
