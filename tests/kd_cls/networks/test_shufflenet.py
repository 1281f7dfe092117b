import torch
from torch import nn
from torch.nn import functional
from torchvision.models import get_model

from kd_cls.networks import ShuffleNetV1, ShuffleNetV2
from kd_cls.networks.shufflenet import shuffle


def test_shuffle_takes_from_each_group_in_turn():
    channels = torch.arange(6.0).reshape(1, 6, 1, 1).expand(2, 6, 3, 2)
    shuffled = shuffle(channels, groups=3)
    assert shuffled[1, :, 2, 1].tolist() == [0, 2, 4, 1, 3, 5]
    assert torch.equal(shuffle(channels, groups=1), channels)
    assert torch.equal(shuffle(shuffled, groups=2), channels)


def test_version_2_computes_what_torchvision_computes_behind_the_stem(computes_as):
    theirs = get_model("shufflenet_v2_x1_0", num_classes=7)
    theirs.conv1[0] = nn.Conv2d(3, 24, 1, bias=False)
    theirs.maxpool = nn.Identity()
    computes_as(ShuffleNetV2(num_classes=7), theirs, torch.randn(2, 3, 16, 16))


def block_by_hand(block, features, stride, first_groups):
    """Figure 2 of the paper, and ReLU behind the 3x3 convolution.

    As in https://github.com/HobbitLong/RepDistiller, models/ShuffleNetv1.py.
    """
    (first, *_), (depthwise, *_), (last, _) = block.narrow, block.spatial, block.widen
    norm = (1 + block.narrow[1].eps) ** -0.5  # norms have not moved yet
    out = (functional.conv2d(features, first.weight, groups=first_groups) * norm).relu()
    size = out.shape[1] // first_groups
    order = [g * size + i for i in range(size) for g in range(first_groups)]
    out = functional.conv2d(
        out[:, order], depthwise.weight, stride=stride, padding=1, groups=out.shape[1]
    )
    out = functional.conv2d((out * norm).relu(), last.weight, groups=3) * norm
    if stride == 1:
        return (out + features).relu()
    return torch.cat([out, functional.avg_pool2d(features, 3, 2, padding=1)], dim=1).relu()


def test_version_1_blocks_by_hand():
    torch.manual_seed(0)
    network = ShuffleNetV1(num_classes=7).eval()
    for path, channels, stride, groups in [
        ("stage1.0", 24, 2, 1),
        ("stage1.1", 240, 1, 3),
        ("stage2.0", 240, 2, 3),
        ("stage3.3", 960, 1, 3),
    ]:
        block = network.get_submodule(path)
        features = torch.randn(2, channels, 6, 6)
        by_hand = block_by_hand(block, features, stride, groups)
        torch.testing.assert_close(block(features), by_hand)


def test_version_1_narrows_to_a_quarter_of_its_new_channels():
    network = ShuffleNetV1(num_classes=7)
    assert [stage[0].narrow[0].out_channels for stage in (network.stage1, network.stage2)] == [
        (240 - 24) // 4, (480 - 240) // 4,
    ]  # fmt: skip
    assert [len(stage) for stage in (network.stage1, network.stage2, network.stage3)] == [4, 8, 4]
