"""A detector that learns from two teachers of different kind by one term."""

import pytest
import torch

from kd_core.losses.soft_target import class_doubts, soft_divergences
from kd_core.teacher_shares import confidence_weights

from .test_dense_heads import make


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


LAST = "cls.weight"  # of what gives the class scores


def shared(tiny, kind, term):
    """A student of two teachers of its own kind, which share each sample by how sure they are."""
    teachers = {name: dict(config=make(tiny, kind), checkpoint=None) for name in "ab"}
    config = tiny.distilled(make(tiny, kind), terms=dict(kd=term))
    del config["teacher"]
    model = tiny.build(dict(config, teachers=teachers))
    for seed, teacher in enumerate(model.distiller.teachers.values()):
        torch.manual_seed(seed)
        for name, parameter in teacher.model.named_parameters():
            if name.endswith(LAST):
                torch.nn.init.normal_(parameter, std=0.5)
    return model


def check_shared(model, losses):
    weights = [losses[f"weight_kd_{name}"].item() for name in "ab"]
    assert sum(weights) == pytest.approx(1.0) and abs(weights[0] - 0.5) > 1e-3
    total = losses["loss_kd_a"] + losses["loss_kd_b"]
    total.backward()
    assert total > 0 and model.backbone.conv1.weight.grad.any()


@pytest.mark.parametrize("weighting", ["entropy", "confidence"])
def test_regions_are_shared(tiny, weighting):
    term = dict(
        loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=1.0),
        layers="roi_head.bbox_head[0]",
        teacher=["a", "b"],
        weighting=weighting,
    )
    if weighting == "confidence":
        term["inputs"] = dict(labels="roi_head.bbox_head.loss_cls.input[1]")
    model = shared(tiny, "faster_rcnn", term)
    seen = {}
    for name, teacher in model.distiller.teachers.items():
        head = teacher.model.roi_head.bbox_head
        head.register_forward_hook(lambda _, __, found, name=name: seen.update({name: found[0]}))
    model.roi_head.bbox_head.register_forward_hook(lambda _, __, found: seen.update(own=found[0]))
    labels = []
    criterion = model.roi_head.bbox_head.loss_cls
    criterion.register_forward_pre_hook(lambda _, given: labels.append(given[1]))
    losses = tiny.losses(model)
    known = labels[0] if weighting == "confidence" else None
    doubts = torch.stack([class_doubts(seen[name], known) for name in "ab"])
    for name, share in zip("ab", confidence_weights(doubts), strict=True):
        expected = (share * soft_divergences(seen["own"], seen[name], 1.0)).mean()
        torch.testing.assert_close(losses[f"loss_kd_{name}"], expected)
    check_shared(model, losses)


def test_box_offsets_are_shared_by_class_scores(tiny):
    labels = "roi_head.bbox_head.loss_cls.input[1]"
    term = dict(
        loss=dict(type="kd_core.losses.RegionBoxLoss"),
        layers="roi_head.bbox_head[1]",
        teacher=["a", "b"],
        weighting=dict(kind="confidence", layers="roi_head.bbox_head[0]"),
        inputs=dict(labels=labels),
    )
    model = shared(tiny, "faster_rcnn", term)
    check_shared(model, tiny.losses(model))


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("retinanet", None),
        ("retinanet", "bbox_head.loss_cls.input[1]"),
        ("fcos", "bbox_head.loss_cls.input[1]"),
        ("atss", "bbox_head.loss_cls.input[1]"),
        ("gfl", "bbox_head.loss_cls.input[1][0]"),
    ],
)
def test_anchors_are_shared(tiny, kind, labels):
    anchors = 9 if kind == "retinanet" else 1
    term = dict(
        loss=dict(type="kd_core.losses.ClassResponseLoss", anchors=anchors),
        layers="bbox_head[0]",
        teacher=["a", "b"],
        weighting="entropy" if labels is None else "confidence",
    )
    if labels is not None:
        term["inputs"] = dict(labels=labels)
    model = shared(tiny, kind, term)
    check_shared(model, tiny.losses(model))


def test_two_teachers_at_sizes_and_layers_of_their_own_run_once_each(tiny):
    """Of one term: half the student's size under one layer, twice under another's."""
    config = tiny.distilled(tiny.faster_rcnn())
    small, large = tiny.faster_rcnn(neck=24), tiny.retinanet()
    teachers = dict(
        small=dict(config=small, checkpoint=None, scale=0.5),
        large=dict(config=large, checkpoint=None, scale=(128, 128)),
    )
    del config["teacher"]
    term = dict(
        loss=dict(type="kd_core.losses.PearsonFeatureLoss"),
        layers="neck[1:3]",
        teacher_layers=dict(small="neck[0:2]", large=["backbone[2]", "neck[2]"]),
        teacher=["small", "large"],
    )
    model = tiny.build(dict(config, teachers=teachers, terms=dict(pkd=term)))
    runs = []
    for name, teacher in model.distiller.teachers.items():
        teacher.model.backbone.register_forward_hook(
            lambda _, given, found, name=name: runs.append((name, given[0].shape[2:], len(found)))
        )
    losses = tiny.losses(model)
    assert runs == [("small", (32, 32), 4), ("large", (128, 128), 4)]
    for name in ("small", "large"):
        assert losses[f"loss_pkd_{name}"] > 0
    (losses["loss_pkd_small"] + losses["loss_pkd_large"]).backward()
    assert model.backbone.conv1.weight.grad.any()
    assert all(not one.model.backbone.conv1.weight.requires_grad
               for one in model.distiller.teachers.values())  # fmt: skip
    shapes = {(row.term, row.teacher_shape) for row in model.distiller.shape_table.rows}
    assert shapes == {
        ("pkd_small", (2, 24, 8, 8)),
        ("pkd_small", (2, 24, 4, 4)),
        ("pkd_large", (2, 32, 8, 8)),
        ("pkd_large", (2, 16, 4, 4)),
    }
