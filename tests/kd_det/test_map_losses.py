"""Losses on a detector's maps: boxes reach them, and their layers are trained along."""

from types import SimpleNamespace

import pytest
import torch

from kd_det.adapter import DetectorAdapter


def distilled(tiny, loss, **options):
    term = dict(loss=dict(type=f"kd_core.losses.{loss}", **options), layers="neck[0:4]")
    return tiny.build(tiny.distilled(terms=dict(maps=term)))


@pytest.mark.parametrize("loss", ["FGDLoss", "MGDLoss", "FBKDLoss", "ReviewKDLoss"])
def test_each_trains_the_student_and_its_own_layers(tiny, loss):
    model = distilled(tiny, loss)
    value = tiny.losses(model)["loss_maps"]
    value.backward()
    assert torch.isfinite(value) and value > 0
    assert model.backbone.conv1.weight.grad.any()
    own = [p for n, p in model.named_parameters() if n.startswith("distiller.criteria.maps.")]
    assert own and any(p.grad is not None and p.grad.any() for p in own)
    detached = model.distiller.detach()
    assert not [name for name in detached.state_dict() if name.startswith("distiller")]


def test_boxes_are_those_of_the_samples_scaled_by_the_padded_input(tiny):
    model = distilled(tiny, "FGDLoss", weights=dict(relation=0.0))
    batch = tiny.batch(model.train(), count=3)
    seen = {}
    loss = model.distiller.terms["maps"].loss
    loss.register_forward_hook(lambda _, __, kwargs, ___: seen.update(kwargs), with_kwargs=True)
    model(**batch, mode="loss")
    expected = [sample.gt_instances.bboxes for sample in batch["data_samples"]]
    assert seen["image_size"] == tuple(batch["inputs"].shape[2:])
    assert len({sample.img_shape for sample in batch["data_samples"]}) > 1
    assert all(torch.equal(*pair) for pair in zip(seen["boxes"], expected, strict=True))


def test_images_without_boxes(tiny):
    model = distilled(tiny, "FGDLoss", preset="two_stage")
    batch = tiny.batch(model.train())
    for sample in batch["data_samples"]:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model(**batch, mode="loss")
    assert torch.isfinite(losses["loss_maps"]) and losses["loss_maps"] > 0


@pytest.mark.parametrize("teacher", ["faster_rcnn", "retinanet"])
@pytest.mark.parametrize("mask", ["boxes", "scores", "attention"])
def test_masks(tiny, mask, teacher):
    term = dict(loss=dict(type="kd_core.losses.PearsonFeatureLoss"), layers="neck[1:4]", mask=mask)
    term["teacher_layers"] = "neck[1:4]" if teacher == "faster_rcnn" else "neck[0:3]"
    model = tiny.build(tiny.distilled(None, getattr(tiny, teacher)(), dict(pkd=term)))
    assert len(model.distiller.terms["pkd"].layers("teacher")) == (2 if mask == "scores" else 1)
    losses = tiny.losses(model)
    losses["loss_pkd"].backward()
    assert losses["loss_pkd"] > 0 and model.backbone.conv1.weight.grad.any()


@pytest.mark.parametrize(
    ("rpn", "head", "found"),
    [(None, True, "bbox_head[0]"), (True, None, "rpn_head[0]"), (None, False, None),
     (False, True, None), (None, None, None)],
)  # fmt: skip
def test_a_mask_finds_scores_of_sigmoids_alone(rpn, head, found):
    """The largest score of a softmax, as of SSD, is most often that of the background."""
    of = {"rpn_head": rpn, "bbox_head": head}
    heads = {name: SimpleNamespace(use_sigmoid_cls=one) for name, one in of.items()
             if one is not None}  # fmt: skip
    assert DetectorAdapter().score_layers(SimpleNamespace(**heads)) == found


def test_an_empty_mask_gives_0(tiny):
    term = dict(
        loss=dict(type="kd_core.losses.PearsonFeatureLoss"), layers="neck[0:4]", mask="boxes"
    )
    model = tiny.build(tiny.distilled(terms=dict(pkd=term)))
    batch = tiny.batch(model.train())
    for sample in batch["data_samples"]:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model(**batch, mode="loss")
    losses["loss_pkd"].backward()
    assert losses["loss_pkd"] == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_retinanet_under_a_faster_rcnn_is_paired_by_stride(tiny):
    loss = dict(type="kd_core.losses.AttentionTransferLoss")
    terms = dict(all=dict(loss=loss, layers="neck"), one=dict(loss=loss, layers="neck[0]"))
    model = tiny.build(tiny.distilled(tiny.retinanet(), tiny.faster_rcnn(), terms))
    table = model.distiller.shape_table
    found = [(row.student_layer, row.teacher_layer) for row in table.rows if row.term == "all"]
    assert found == [(f"neck #{level}", f"neck #{level + 1}") for level in range(4)]
    assert all(
        row.student_shape[2:] == row.teacher_shape[2:] for row in table.rows if row.term == "all"
    )
    paired, named = table.notes
    assert "#4 (2, 16, 1, 1) left out; the teacher's #0 (2, 16, 16, 16) left out" in paired
    assert "term 'one': compares maps of unequal strides" in named
    losses = tiny.losses(model)
    assert losses["loss_all"] > 0 and losses["loss_one"] > 0
