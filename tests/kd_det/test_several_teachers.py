"""A detector that learns from two teachers of different kind by one term."""

import pytest
import torch


def two(tiny, shares):
    config = tiny.distilled(tiny.faster_rcnn(), tiny.faster_rcnn(neck=24))
    teachers = dict(
        wide=config.pop("teacher"), other=dict(config=tiny.retinanet(), checkpoint=None)
    )
    term = dict(
        loss=dict(type="kd_core.losses.PearsonFeatureLoss"),
        layers="neck[1:3]",
        teacher_layers=dict(wide="neck[1:3]", other="neck[0:2]"),
        teacher=shares,
        weight=2.0,
    )
    return tiny.build(dict(config, teachers=teachers, terms=dict(pkd=term)))


def test_each_has_its_layers_its_connectors_and_its_share(tiny):
    model = two(tiny, dict(wide=0.75, other=0.25))
    terms = model.distiller.terms
    assert {name: term.weight for name, term in terms.items()} == {
        "pkd_wide": 1.5,
        "pkd_other": 0.5,
    }
    rows = {(row.term, row.teacher_shape[1]) for row in model.distiller.shape_table.rows}
    assert rows == {("pkd_wide", 24), ("pkd_other", 16)}
    losses = tiny.losses(model)
    assert losses["loss_pkd_wide"] > 0 and losses["loss_pkd_other"] > 0
    losses["loss_pkd_wide"].backward()
    assert model.backbone.conv1.weight.grad.any()


def one(tiny, several):
    """A teacher by itself, or in a list of one or of two that are the same."""
    config = tiny.distilled(tiny.faster_rcnn(), tiny.faster_rcnn(neck=24))
    term = dict(loss=dict(type="kd_core.losses.AttentionTransferLoss"), layers="neck[1:3]")
    if several:
        teacher = config.pop("teacher")
        config["teachers"] = dict.fromkeys(several, teacher)
        term["teacher"] = list(several)
    torch.manual_seed(0)
    model = tiny.build(dict(config, terms=dict(at=term)))
    for teacher in model.distiller.teachers.values():
        torch.manual_seed(1)
        for parameter in teacher.model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    torch.manual_seed(2)
    return {name: v for name, v in tiny.losses(model).items() if name.startswith("loss_at")}


def test_a_list_of_one_is_the_teacher_and_the_mean_of_two_equal_ones_too(tiny):
    alone = one(tiny, ())["loss_at"]
    assert alone > 0 and torch.equal(one(tiny, ("a",))["loss_at"], alone)
    both = one(tiny, ("a", "b"))
    assert both.keys() == {"loss_at_a", "loss_at_b"}
    for value in both.values():
        torch.testing.assert_close(value, alone / 2)


def test_a_teacher_without_layers_is_named(tiny):
    with pytest.raises(ValueError, match="every teacher must have a term, but .'other'. have none"):
        two(tiny, dict(wide=1.0, other=0.0))
