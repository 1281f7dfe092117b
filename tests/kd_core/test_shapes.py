import torch

from kd_core import Term
from kd_core.losses import ChannelWiseLoss, HMATLoss
from kd_core.shapes import ShapeTable, connector_key


def maps(channels, side, levels=0):
    if levels:
        return [torch.zeros(2, channels, side >> level, side >> level) for level in range(levels)]
    return torch.zeros(2, channels, side, side)


def table():
    terms = {
        "hmat": Term(HMATLoss(), {"low": "a", "high": "b"}, {"low": "a", "high": "layer4"}),
        "cwd": Term(ChannelWiseLoss(), "neck"),
    }
    student = {"hmat": {"low": maps(8, 16), "high": maps(8, 4)}, "cwd": {"": maps(4, 8, 2)}}
    teacher = {"hmat": {"low": maps(64, 16), "high": maps(32, 4)}, "cwd": {"": maps(4, 8, 2)}}
    return ShapeTable(terms, student, teacher)


def test_the_table_is_aligned():
    assert str(table()).splitlines() == [
        "term  role  student layer  shape      teacher layer  shape       connector",
        "hmat  low   a              2x8x16x16  a              2x64x16x16  -",
        "hmat  high  b              2x8x4x4    layer4         2x32x4x4    8 -> 32",
        "cwd   -     neck #0        2x4x8x8    neck #0        2x4x8x8     -",
        "cwd   -     neck #1        2x4x4x4    neck #1        2x4x4x4     -",
    ]


def test_only_a_loss_that_needs_equal_channels_is_connected():
    assert [(row.role, row.connector) for row in table().rows[:2]] == [
        ("low", ""),
        ("high", "1x1-norm"),
    ]


def test_keys():
    assert [row.key for row in table().rows] == ["low_0", "high_0", "0", "1"]
    assert connector_key("high", 2) == "high_2"


def test_features_without_channels_are_shown_too():
    term = Term(ChannelWiseLoss(), "head")
    found = ShapeTable({"x": term}, {"x": {"": torch.zeros(3)}}, {"x": {"": torch.zeros(2, 5)}})
    assert found.rows[0].cells()[3:] == ("3", "head", "2x5", "-")
