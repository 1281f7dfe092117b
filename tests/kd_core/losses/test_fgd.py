import pytest
import torch

from kd_core.box_masks import foreground_weights
from kd_core.connectors import Connector
from kd_core.losses import FGDLoss

# https://github.com/yzd-v/FGD, mmdet/distillation/losses/fgd.py,
# commit c03a6cf3b3cb3cbfd5554dbf4766e7135747d22d; its weights and inputs are recorded.
SIZE = (56, 40)  # of the padded input, stride 8
NOTHING = dict.fromkeys(("foreground", "background", "attention", "relation"), 0.0)
BOXES = [torch.tensor([[0.0, 0.0, 16.0, 8.0]])]


def boxes_of(data):
    return [data[f"boxes_{image}"].reshape(-1, 4) for image in range(3)]


def blocks_of(loss):
    """Path of the authors' layers to ours."""
    found = {}
    for side, block in loss.levels[0].items():
        found[f"conv_mask_{side[0]}"] = block.mask
        for place in (0, 1, 3):
            found[f"channel_add_conv_{side[0]}.{place}"] = block.transform[place]
    return found


@pytest.mark.parametrize("part", ["foreground", "background", "attention", "relation", "total"])
def test_authors_code(agrees_with_layers, part):
    loss = FGDLoss(weights=None if part == "total" else NOTHING | {part: 1.0})
    connector = Connector(4, 6, FGDLoss.connector)
    loss.prepare(torch.zeros(3, 6, 7, 5), torch.zeros(3, 6, 7, 5))
    layers = {"align": connector.project}
    layers |= blocks_of(loss) if part in ("relation", "total") else {}
    unused = {f"param.conv_mask_{side}.bias" for side in "st"}  # no gradient reaches them

    def run(data):
        student = connector(data["student"])
        return loss(student, data["teacher"], boxes=boxes_of(data), image_size=SIZE)

    agrees_with_layers(f"fgd_{part}", layers, run, ignored=unused)


def test_authors_relation_as_it_starts(agrees_with_layers):
    loss = FGDLoss(weights=NOTHING | {"relation": 1.0})
    loss.prepare(torch.zeros(3, 6, 7, 5), torch.zeros(3, 6, 7, 5))

    def run(data):
        return loss(data["student"], data["teacher"], boxes=boxes_of(data), image_size=SIZE)

    agrees_with_layers("fgd_relation_initial", {}, run)


def test_value_worked_out_by_hand():
    # Two positions, two channels; attention weights of a constant map are all 1.
    student, teacher = torch.zeros(1, 2, 1, 2), torch.full((1, 2, 1, 2), 3.0)
    loss = FGDLoss(weights=NOTHING | {"foreground": 1.0, "background": 10.0})
    box = [torch.tensor([[0.0, 0.0, 3.0, 8.0]])]  # its cells: columns 0 and 1, rows 0 and 1
    inside = loss(student, teacher, boxes=box, image_size=(8, 16))
    assert inside.item() == pytest.approx(2 * 2 * 9 / 4)  # all in the box, of 4 cells with outside
    nothing = loss(student, teacher, boxes=[torch.zeros(0, 4)], image_size=(8, 16))
    assert nothing.item() == pytest.approx(10 * 2 * 2 * 9 / 2)


def test_weights_of_the_foreground_are_the_authors(recorded):
    data = recorded("fgd_foreground")
    found = foreground_weights(boxes_of(data), SIZE, data["teacher"])
    torch.testing.assert_close(found, data["mask_foreground"].reshape(found.shape))


def test_the_order_of_boxes_does_not_matter_and_chunks_neither(monkeypatch):
    torch.manual_seed(0)
    feature = torch.zeros(2, 3, 9, 11)
    corners = 60 * torch.rand(2, 7, 2)
    boxes = list(torch.cat([corners, corners + 30 * torch.rand(2, 7, 2)], dim=2))
    found = foreground_weights(boxes, (72, 88), feature)
    shuffled = [one[torch.randperm(7)] for one in boxes]
    torch.testing.assert_close(foreground_weights(shuffled, (72, 88), feature), found)
    monkeypatch.setattr("kd_core.box_masks._CELLS", 1)  # a box of each image at a time
    torch.testing.assert_close(foreground_weights(boxes, (72, 88), feature), found)


def test_a_box_that_begins_outside_counts_inside():
    box = [torch.tensor([[-8.0, 0.0, 8.0, 8.0]])]
    found = foreground_weights(box, (16, 32), torch.zeros(1, 3, 2, 4))
    expected = torch.tensor([1 / 6, 1 / 6, 0, 0]).expand(1, 2, 4)
    torch.testing.assert_close(found, expected)


def test_a_batch_without_boxes_has_background_alone_and_no_nan():
    student = torch.randn(2, 4, 3, 3, requires_grad=True)
    teacher, none = torch.randn(2, 4, 3, 3), [torch.zeros(0, 4)] * 2
    foreground = FGDLoss(weights=NOTHING | {"foreground": 1.0})
    value = foreground(student, teacher, boxes=none, image_size=(24, 24))
    value.backward()
    assert value.item() == 0 and not student.grad.any()
    background = FGDLoss(weights=NOTHING | {"background": 1.0})
    assert background(student, teacher, boxes=none, image_size=(24, 24)) > 0
    whole = [torch.tensor([[0.0, 0.0, 24.0, 24.0]])] * 2
    assert background(student, teacher, boxes=whole, image_size=(24, 24)) == 0


def test_levels_are_summed_and_have_blocks_of_their_own():
    torch.manual_seed(0)
    maps = [[torch.randn(1, 4, side, side) for side in (4, 2)] for _ in range(2)]
    loss = FGDLoss()
    loss.prepare(*maps)
    assert len(loss.levels) == 2
    value = loss(*maps, boxes=BOXES, image_size=(32, 32)).item()
    local = FGDLoss(weights={"relation": 0.0})
    alone = [local(s, t, boxes=BOXES, image_size=(32, 32)) for s, t in zip(*maps, strict=True)]
    relation = FGDLoss(weights=NOTHING | {"relation": 5e-6})
    relation.levels = loss.levels
    alone.append(relation(*maps, boxes=BOXES, image_size=(32, 32)))
    assert value == pytest.approx(sum(one.item() for one in alone), rel=1e-5)


def test_presets():
    assert FGDLoss("two_stage").weights["attention"] == 5e-5
    assert FGDLoss("anchor_free").temperature == 0.8
    assert FGDLoss("two_stage", weights={"attention": 1.0}).weights == {
        "foreground": 5e-5,
        "background": 2.5e-5,
        "attention": 1.0,
        "relation": 5e-7,
    }


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="preset must be one of .*two_stage.*'fpn'"):
        FGDLoss("fpn")
    with pytest.raises(ValueError, match="a part of weights must be one of .*'boxes'"):
        FGDLoss(weights={"boxes": 1.0})
    maps = torch.randn(2, 4, 3, 3)
    with pytest.raises(ValueError, match=r"channels, but the maps have \[4\].*prepare"):
        FGDLoss()(maps, maps, boxes=BOXES * 2, image_size=(24, 24))
    with pytest.raises(ValueError, match=r"list of 2 tensors \(B, 4\).*\[\(1, 4\)\]"):
        FGDLoss(weights={"relation": 0.0})(maps, maps, boxes=BOXES, image_size=(24, 24))
