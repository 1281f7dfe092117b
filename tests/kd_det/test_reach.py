"""Terms on layers of a detector that give no gradient."""

import pytest


def at(layers):
    return dict(at=dict(loss=dict(type="kd_core.losses.AttentionTransferLoss"), layers=layers))


def build(tiny, layers, **backbone):
    student = tiny.faster_rcnn()
    student["backbone"].update(backbone)
    return tiny.build(tiny.distilled(student=student, teacher=student, terms=at(layers)))


@pytest.mark.parametrize("layer", ["backbone[0]", "backbone.layer1", "backbone.conv1"])
def test_frozen_stages_are_refused(tiny, layer):
    """mmdet's own default is frozen_stages=1."""
    model = build(tiny, layer, frozen_stages=1)
    path = layer.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(ValueError, match=rf"'at' cannot move the student.* '{path}'.*frozen_stag"):
        tiny.losses(model)


def test_what_lies_behind_frozen_stages_trains(tiny):
    model = build(tiny, ["neck[0]", "backbone[1]"], frozen_stages=1, norm_eval=True)
    assert tiny.losses(model)["loss_at"] > 0


def test_one_frozen_level_of_several_is_a_warning(tiny):
    model = build(tiny, "backbone[0:4]", frozen_stages=1)
    with pytest.warns(UserWarning, match=r"no gradient flows into 'backbone\[0:4\]' #0\."):
        assert tiny.losses(model)["loss_at"] > 0


def test_the_inside_of_a_checkpointed_block(tiny):
    """Where the block is a reentrant checkpoint it is refused, and elsewhere it trains."""
    model = build(tiny, "backbone.layer2.0.conv1", with_cp=True)
    try:
        loss = tiny.losses(model)["loss_at"]
    except ValueError as error:
        assert "cannot move the student" in str(error) and "with_cp=True" in str(error)
        return
    loss.backward()
    assert model.backbone.layer2[0].conv1.weight.grad.any()


def test_the_outside_of_a_checkpointed_block(tiny):
    model = build(tiny, "backbone[1]", with_cp=True)
    tiny.losses(model)["loss_at"].backward()
    assert model.backbone.layer2[0].downsample[0].weight.grad.any()
