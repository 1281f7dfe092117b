"""Maps (N, H, W, C) of Swin transformers and the like are found and turned to (N, C, H, W)."""

import copy
import warnings

import pytest
import timm
import torch
from torch import nn
from torchvision.models import convnext, swin_transformer

from kd_core import Distiller, Term
from kd_core.layouts import fast_memory_format, hints_of
from kd_core.losses import AttentionTransferLoss, ChannelWiseLoss, HMATLoss

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def torchvision_swin(width=16):
    return swin_transformer.SwinTransformer(
        [4, 4], embed_dim=width, depths=[1] * 4, num_heads=[2] * 4, window_size=[4, 4],
        stochastic_depth_prob=0.0, num_classes=5,
    )  # fmt: skip


def timm_swin(width=16):
    return timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=width,
        depths=(1,) * 4, num_heads=(2,) * 4, num_classes=5, drop_path_rate=0.0,
    )  # fmt: skip


def torchvision_convnext(width=16):
    blocks = [
        convnext.CNBlockConfig(width, 2 * width, 1),
        convnext.CNBlockConfig(2 * width, None, 1),
    ]
    return convnext.ConvNeXt(blocks, num_classes=5)


class Net(nn.Module):
    """A convolutional network of the same strides and given widths; `stride` is its first."""

    def __init__(self, *widths, stride=4):
        super().__init__()
        before, strides = 3, [stride, 2, 2, 2]
        for number, width in enumerate(widths):
            self.add_module(f"s{number}", nn.Conv2d(before, width, 3, strides[number], padding=1))
            before = width
        self.stages = len(widths)

    def forward(self, images):
        for number in range(self.stages):
            images = self.get_submodule(f"s{number}")(images)
        return images.mean((2, 3))


TORCHVISION = ["features.1", "features.3", "features.5", "features.7"]
TIMM = ["layers.0", "layers.1", "layers.2", "layers.3"]
STAGES = ["s0", "s1", "s2", "s3"]
SWINS = [
    pytest.param(torchvision_swin, TORCHVISION, id="torchvision"),
    pytest.param(timm_swin, TIMM, id="timm"),
]


def attach(student, teacher, layers, teacher_layers, loss=None, images=IMAGES):
    term = Term(loss or ChannelWiseLoss(), layers, teacher_layers)
    return Distiller(teacher, {"x": term}).attach(student, None if images is None else (images,))


def stages_of(model, layers, images=IMAGES):
    """The outputs of layers, by hand."""
    found, handles = [], []
    for layer in layers:
        hook = model.get_submodule(layer).register_forward_hook(lambda *a: found.append(a[2]))
        handles.append(hook)
    model(images)
    for handle in handles:
        handle.remove()
    return found


def step(student, images=IMAGES):
    student.train()(images)
    return student.distiller.losses()["loss_x"]


@pytest.mark.parametrize("make, layers", SWINS)
@pytest.mark.parametrize("width", [8, 16])  # of 16 the first map is 16 x 16 x 16
class TestSwin:
    def test_as_teacher(self, make, layers, width):
        torch.manual_seed(0)
        teacher = make(width)
        student = attach(Net(8, 8, 8, 8), teacher, STAGES, layers)
        rows = student.distiller.shape_table.rows
        expected = [(2, width * 2**n, 16 // 2**n, 16 // 2**n) for n in range(4)]
        assert [row.teacher_shape for row in rows] == expected
        assert [row.teacher_layout for row in rows] == ["turned"] * 4
        assert not any(row.student_layout for row in rows)

    def test_as_student(self, make, layers, width):
        torch.manual_seed(0)
        student, teacher = make(width), Net(8, 8, 24, 8)
        roles = dict(low=layers[0], mid=layers[1:3], high=layers[3])
        of_teacher = dict(low="s0", mid=["s1", "s2"], high="s3")
        attach(student, teacher, roles, of_teacher, HMATLoss())
        rows = student.distiller.shape_table.rows
        assert [row.student_layout for row in rows] == ["turned"] * 4
        connected = student.distiller.connectors["x"]["high_0"].project
        assert (connected.in_channels, connected.out_channels) == (8 * width, 8)
        student.train()(IMAGES)
        sum(student.distiller.losses().values()).backward()
        assert any(p.grad is not None and p.grad.any() for p in student.parameters())

    def test_the_loss_is_that_of_maps_turned_by_hand(self, make, layers, width):
        torch.manual_seed(0)
        student, teacher = make(width), Net(width, 8, 8, 8)
        attach(student, teacher, layers[:2], STAGES[:2], AttentionTransferLoss())
        loss = step(student)
        twin = copy.deepcopy(student)
        twin.distiller.detach()
        pairs = zip(stages_of(twin, layers[:2]), stages_of(teacher, STAGES[:2]), strict=True)
        expected = 0
        for own, other in pairs:
            maps = own.square().mean(3).flatten(1), other.square().mean(1).flatten(1)
            one, two = (nn.functional.normalize(each) for each in maps)
            expected = expected + (one - two).square().mean()
        torch.testing.assert_close(loss, expected)


def test_the_table_tells():
    student = attach(Net(8), torchvision_swin(), "s0", "features.1")
    assert str(student.distiller.shape_table).splitlines()[1] == (
        "x     -     s0             2x8x16x16  features.1     2x16x16x16 turned  8 -> 16"
    )


def test_only_the_inside_of_convnext_is_turned():
    layers = ["features.1", "features.1.0.block.2", "features.3"]
    student = attach(Net(8, 8, 8), torchvision_convnext(), ["s0", "s0", "s1"], layers)
    rows = student.distiller.shape_table.rows
    assert [row.teacher_layout for row in rows] == ["", "turned", ""]
    assert [row.teacher_shape[1] for row in rows] == [16, 16, 32]


@pytest.mark.parametrize(
    "widths, stride, size",
    [
        ((16, 8, 4, 2), 4, (64, 64)),  # of every map the channels are as many as its rows
        ((16, 8), (4, 8), (64, 64)),  # and here not as many as its columns
        ((16, 8, 4), 4, (64, 96)),
        ((8, 8, 8, 8), 4, (32, 32)),
    ],
)
def test_convolutional_networks_are_left_alone(widths, stride, size):
    stages = STAGES[: len(widths)]
    student, teacher = Net(*widths, stride=stride), Net(*widths, stride=stride)
    attach(student, teacher, stages, stages, images=torch.randn(2, 3, *size))
    rows = student.distiller.shape_table.rows
    assert not any(row.student_layout or row.teacher_layout for row in rows)
    assert [row.student_shape[1] for row in rows] == list(widths)


def test_a_network_of_one_size_with_as_many_channels_as_rows_is_left_alone():
    class OneSize(Net):
        def forward(self, images):
            assert images.shape[2:] == (64, 64), "only 64 x 64"
            return super().forward(images)

    student = attach(OneSize(16, 8), OneSize(16, 8), STAGES[:2], STAGES[:2])
    rows = student.distiller.shape_table.rows
    assert not any(row.student_layout or row.teacher_layout for row in rows)


def test_another_student_is_looked_at_anew():
    student = attach(timm_swin(8), Net(8), "layers.0", "s0")
    distiller = student.distiller
    distiller.detach()
    other = nn.Sequential()
    other.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 4, padding=1))
    distiller.attach(other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.isfinite(step(other))
    assert not distiller.layouts["student"].is_turned("x", "", 0)


@pytest.mark.parametrize("given", [True, False])
def test_lists_of_images(given):
    """As torchvision's detectors take them; the first map is 16 x 16 x 16."""

    class Listed(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, images):
            return self.net(torch.stack(images))

    student, width = Listed(Net(8)), 16 if given else 8
    term = Term(ChannelWiseLoss() if given else AttentionTransferLoss(), "net.s0", "net.features.1")
    distiller = Distiller(Listed(torchvision_swin(width)), {"x": term})
    distiller.attach(student, (list(IMAGES),) if given else None)
    if given:
        assert distiller.shape_table.rows[0].teacher_layout
    else:
        with pytest.warns(UserWarning, match=r"turns maps \(N, H, W, C\) of the teacher"):
            step(student, list(IMAGES))


def test_what_timm_says_of_a_model_is_not_said_of_its_own_output():
    """kd_retrieval.TimmTrunk turns that already."""
    model = nn.Sequential()
    model.trunk = timm_swin(16)
    terms = {"x": Term(AttentionTransferLoss(), ["trunk", "trunk.layers.0", "trunk.layers.1"])}
    hinted = hints_of(model, terms, "student")
    assert [hinted("x", "", level) for level in range(3)] == [False, True, True]


def test_images_that_are_not_square():
    images = torch.randn(2, 3, 64, 96)
    student = attach(Net(8, 8), torchvision_swin(24), STAGES[:2], TORCHVISION[:2], images=images)
    rows = student.distiller.shape_table.rows
    assert [row.teacher_shape for row in rows] == [(2, 24, 16, 24), (2, 48, 8, 12)]


@pytest.mark.parametrize("make, layers", SWINS)
def test_without_an_example_the_shapes_decide_and_it_is_said_once(make, layers):
    torch.manual_seed(0)
    teacher = make(8)
    one, other = Net(8), Net(8)
    other.load_state_dict(one.state_dict())
    attach(one, teacher, "s0", layers[0])
    attach(other, teacher, "s0", layers[0], images=None)
    with pytest.warns(UserWarning, match=r"turns maps \(N, H, W, C\) of the teacher .*16, 16, 8\)"):
        loss = step(other)
    torch.testing.assert_close(loss, step(one))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(other)


def test_an_error_of_torch_in_the_trial_names_the_term():
    class Difference(nn.Module):
        def forward(self, student, teacher):
            return (student - teacher).square().mean()

    with pytest.raises(ValueError, match=r"term 'x' does not fit: The size of tensor a \(8\)"):
        attach(Net(8), Net(6), "s0", "s0", Difference())


def test_the_memory_format_changes_only_where_that_is_faster():
    images = torch.rand(2, 3, 4, 5)
    found = fast_memory_format(images)
    assert torch.equal(found, images)
    assert found.is_contiguous(memory_format=torch.channels_last)
    elsewhere = torch.zeros(2, 3, 4, 5, device="meta")
    assert fast_memory_format(elsewhere) is elsewhere
