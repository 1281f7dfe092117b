"""A teacher of more or other classes: its heads speak of the student's, by name."""

import copy

import pytest
import torch

from kd_det.class_mapping import class_numbers, pick_classes

WANTED = ("Cat", "traffic_light", "dog")
KNOWN = ("dog", "bird", "cat", "horse", "traffic light")
NUMBERS = [2, 4, 0]


def test_classes_are_found_by_name():
    assert class_numbers(WANTED, KNOWN) == NUMBERS


@pytest.mark.parametrize(
    ("wanted", "known", "message"),
    [
        (("cat", "dgo"), KNOWN, r"but not \['dgo'\]; it knows 5. Nearest: 'dog'"),
        (("cat",), ("cat", "Cat"), r"but not \['cat'\]; it knows 2"),
        ((), KNOWN, "each of the student's classes once"),
    ],
)
def test_a_class_that_is_missing_is_named(wanted, known, message):
    with pytest.raises(ValueError, match=message):
        class_numbers(wanted, known)


def test_regions_keep_the_probability_of_each_class(tiny):
    head = tiny.build(tiny.faster_rcnn(classes=5)).eval()
    mapped = copy.deepcopy(head)
    pick_classes(mapped, WANTED, KNOWN)
    features = torch.randn(6, 16, 7, 7)
    with torch.no_grad():
        scores, boxes = head.roi_head.bbox_head(features)
        found, picked = mapped.roi_head.bbox_head(features)
    whole, part = scores.softmax(dim=1), found.softmax(dim=1)
    torch.testing.assert_close(part[:, :3], whole[:, NUMBERS])
    torch.testing.assert_close(part[:, 3], whole[:, [1, 3, 5]].sum(dim=1))
    assert torch.equal(picked.reshape(6, 3, 4), boxes.reshape(6, 5, 4)[:, NUMBERS])
    assert all(torch.equal(one, head.state_dict()[k]) for k, one in mapped.state_dict().items())


def test_each_anchor_of_a_one_stage_head_keeps_its_logits(tiny):
    config = tiny.retinanet()
    config["bbox_head"]["num_classes"] = 5
    head = tiny.build(config).eval().bbox_head
    detector = tiny.build(config).eval()
    detector.bbox_head.load_state_dict(head.state_dict())
    pick_classes(detector, WANTED, KNOWN)
    maps = [torch.randn(2, 16, 4, 3)]
    with torch.no_grad():
        (scores,), (boxes,) = head(maps)
        (found,), (same,) = detector.bbox_head(maps)
    expected = scores.reshape(2, 9, 5, 4, 3)[:, :, NUMBERS].reshape(2, 27, 4, 3)
    assert torch.equal(found, expected) and torch.equal(same, boxes)


def test_a_student_learns_from_a_teacher_of_more_classes(tiny):
    loss = dict(type="kd_core.losses.SoftTargetLoss")
    terms = dict(roi=dict(loss=loss, layers="roi_head.bbox_head[0]"))
    config = tiny.distilled(teacher=tiny.faster_rcnn(classes=5), terms=terms)
    config["teacher"]["classes"] = dict(student=WANTED, teacher=KNOWN)
    model = tiny.build(config)
    (row,) = model.distiller.shape_table.rows
    assert row.student_shape[1] == row.teacher_shape[1] == 4
    assert tiny.losses(model)["loss_roi"] > 0


def test_the_teachers_names_are_those_of_its_checkpoint(tiny, tmp_path):
    file = tmp_path / "teacher.pth"
    state = tiny.build(tiny.faster_rcnn(classes=5)).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=KNOWN))), file)
    loss = dict(type="kd_core.losses.SoftTargetLoss")
    terms = dict(roi=dict(loss=loss, layers="roi_head.bbox_head[0]"))
    config = tiny.distilled(teacher=tiny.faster_rcnn(classes=5), terms=terms, checkpoint=str(file))
    config["teacher"]["classes"] = WANTED
    assert tiny.losses(tiny.build(config))["loss_roi"] > 0
    config["teacher"]["classes"] = ("cat", "wolf", "dog")
    with pytest.raises(ValueError, match="wolf"):
        tiny.build(config)


def test_names_are_needed(tiny):
    config = tiny.distilled()
    config["teacher"]["classes"] = WANTED
    with pytest.raises(ValueError, match=r"its checkpoint \(None\) names"):
        tiny.build(config)


def test_heads_without_such_layers_are_refused(tiny):
    with pytest.raises(ValueError, match="no layer of the teacher's heads gives scores of its 5"):
        pick_classes(tiny.build(tiny.faster_rcnn()), WANTED, KNOWN)
