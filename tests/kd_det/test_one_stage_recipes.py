"""The terms of docs/one_stage_heads.md, on tiny detectors; CrossKD of FCOS and ATSS by hand."""

import functools
import re
from pathlib import Path

import mmdet.models.losses as mmdet_losses
import pytest
import torch
from mmdet.models.utils import unpack_gt_instances
from mmengine.structures import InstanceData
from torch.nn import functional as F

from .test_dense_heads import atss, rtmdet

PAGE = Path(__file__).parents[2] / "docs" / "one_stage_heads.md"
MAKE = {
    "FCOS": lambda tiny: tiny.fcos(),
    "ATSS": atss,
    "RTMDet": rtmdet,
    "YOLOX": lambda tiny: tiny.yolox(),
}


def recipes():
    found = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        names = {}
        exec(block, names)
        found[re.match(r"# (\w+),", block)[1]] = names["terms"]
    return found


def keep(calls, term, loss, args, kwargs, value):
    calls[term] = (*args, kwargs)


def distilled(tiny, name):
    """A distilled detector, and what each term's loss of predictions is called with."""
    config = MAKE[name](tiny)
    model, calls = tiny.build(tiny.distilled(config, config, recipes()[name])), {}
    for term, one in model.distiller.terms.items():
        loss = getattr(one.loss, "loss", one.loss)
        loss.register_forward_hook(functools.partial(keep, calls, term), with_kwargs=True)
    return model, calls


def test_every_recipe_has_a_test():
    assert set(recipes()) == set(MAKE)


@pytest.mark.parametrize("name", MAKE)
def test_a_recipe_trains(tiny, name):
    model, _ = distilled(tiny, name)
    losses = tiny.losses(model)
    terms = [value for key, value in losses.items() if key[5:] in model.distiller.terms]
    assert len(terms) == len(recipes()[name])
    assert all(torch.isfinite(value) and value > 0 for value in terms)
    sum(terms).backward()
    weight = model.backbone.conv1.weight if name in ("FCOS", "ATSS") else None
    assert weight is None or weight.grad.abs().sum() > 0


def rows(maps):
    return torch.cat([one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in maps])


def quality(own, target):
    wanted = target.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(own, wanted, reduction="none")
    return (entropy * (own.sigmoid() - wanted).abs()).sum(dim=1)


def fcos_targets(head, sizes, images):
    """Points of all anchors, and the sum of the positives' centerness targets."""
    points = head.prior_generator.grid_priors(sizes, device="cpu")
    labels, sides = (torch.cat(one) for one in head.get_targets(points, images))
    found = head.centerness_target(sides[labels < head.num_classes])
    return torch.cat([one.repeat(len(images), 1) for one in points]), found.sum()


def test_crosskd_of_fcos_is_the_authors_formula(tiny):
    """github.com/jbwang1997/CrossKD at ae7fba9b, mmdet/models/detectors/crosskd_fcos.py."""
    model, calls = distilled(tiny, "FCOS")
    losses, batch = tiny.losses(model), tiny.batch(model)
    head = model.bbox_head
    images = unpack_gt_instances(batch["data_samples"])[0]
    own, target, _ = calls["boxes"]
    sizes = [tuple(one.shape[2:]) for one in own["boxes"]]
    points, total = fcos_targets(head, sizes, images)
    assert total > 1
    scores = rows(target["scores"])
    decoded = [head.bbox_coder.decode(points, rows(of["boxes"]).exp()) for of in (own, target)]
    expected = mmdet_losses.IoULoss(loss_weight=0.75)(
        *decoded, weight=scores.amax(dim=1).sigmoid(), avg_factor=total
    )
    torch.testing.assert_close(losses["loss_boxes"], expected, rtol=1e-4, atol=0.0)
    own, target, _ = calls["classes"]
    expected = 0.4 * quality(rows(own), rows(target)).sum() / total
    torch.testing.assert_close(losses["loss_classes"], expected, rtol=1e-4, atol=0.0)


def test_without_positives_fcos_is_divided_by_its_loss_of_classes(tiny):
    model, calls = distilled(tiny, "FCOS")
    batch = tiny.batch(model)
    for sample in batch["data_samples"]:
        sample.gt_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
    losses = model.train()(**batch, mode="loss")
    own, target, given = calls["classes"]
    assert given["average"].item() == 1.0
    torch.testing.assert_close(
        losses["loss_classes"], 0.4 * quality(rows(own), rows(target)).sum(), rtol=1e-4, atol=0.0
    )


def test_crosskd_of_atss_is_the_authors_formula(tiny):
    """github.com/jbwang1997/CrossKD at ae7fba9b, mmdet/models/detectors/crosskd_atss.py."""
    model, calls = distilled(tiny, "ATSS")
    losses, batch = tiny.losses(model), tiny.batch(model)
    head = model.bbox_head
    images, _, metas = unpack_gt_instances(batch["data_samples"])
    own, target, _ = calls["boxes"]
    sizes = [tuple(one.shape[2:]) for one in own["boxes"]]
    anchors, flags = head.get_anchors(sizes, metas, device="cpu")
    anchors, labels, label_weights, *_, count = head.get_targets(anchors, flags, images, metas)
    anchors = torch.cat([one.reshape(-1, 4) for one in anchors])
    labels, label_weights = (
        torch.cat([x.flatten() for x in one]) for one in (labels, label_weights)
    )
    assert count > 1
    weights = rows(target["scores"]).amax(dim=1).sigmoid() * (label_weights > 0)
    decoded = [head.bbox_coder.decode(anchors, rows(of["boxes"])) for of in (own, target)]
    expected = mmdet_losses.GIoULoss()(*decoded, weight=weights, avg_factor=count)
    torch.testing.assert_close(losses["loss_boxes"], expected, rtol=1e-4, atol=0.0)
    own, target, _ = calls["classes"]
    expected = (label_weights * quality(rows(own), rows(target))).sum() / count
    torch.testing.assert_close(losses["loss_classes"], expected, rtol=1e-4, atol=0.0)
    own, target, _ = calls["centers"]
    positive = labels < head.num_classes
    centers, wanted = (rows(of["centers"])[positive, 0] for of in (own, target))
    entropies = [
        mmdet_losses.CrossEntropyLoss(use_sigmoid=True)(one, wanted.sigmoid(), avg_factor=count)
        for one in (centers, wanted)
    ]  # the second is the teacher's own, which changes no gradient
    expected = entropies[0] - entropies[1]
    torch.testing.assert_close(losses["loss_centers"], expected, rtol=1e-3, atol=1e-7)
