"""Dense predictions: maps of a one-stage head as rows, one for each anchor; overlap of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_feature_map, check_indices
from kd_core.layers import levels_of
from kd_core.ranks import mean_over_ranks

Levels = Tensor | Sequence[Tensor]


def rows_of(maps: Levels, anchors: int, name: str) -> Tensor:
    """Put the predictions of all levels into rows, in float32.

    Rows are in mmdet's order: level, image, height, width, anchor.

    Args:
        maps: Map (N, A * D, H, W), or a list of them.
        anchors: Anchors A of a place.
        name: What messages call the maps.

    Returns:
        Rows (R, D).

    Raises:
        ValueError: If a map is not 4-D or empty, or its channels are not A blocks.
    """
    rows = []
    for level in levels_of(maps):
        check_feature_map(level, name)
        if level.shape[1] % anchors:
            raise ValueError(
                f"{name} must have a block of channels for each of the {anchors} anchors of a "
                f"place, but the map is {tuple(level.shape)}. Set anchors to the head's number."
            )
        rows.append(level.float().permute(0, 2, 3, 1).reshape(-1, level.shape[1] // anchors))
    if len({one.shape[1] for one in rows}) > 1:
        raise ValueError(f"{name} must have the same channels at all levels.")
    return torch.cat(rows)


def same_rows(student: Levels, teacher: Levels, anchors: int, name: str) -> tuple[Tensor, Tensor]:
    """Put the predictions of both sides into rows that stand for the same anchors.

    Args:
        student: Map (N, A * D, H, W), or a list of them.
        teacher: The same; detached.
        anchors: Anchors A of a place.
        name: What messages call the maps.

    Returns:
        Rows (R, D) of each.

    Raises:
        ValueError: If the maps differ in shape, or are not as :func:`rows_of` needs them.
    """
    sides = {"student": levels_of(student), "teacher": levels_of(teacher)}
    for side, levels in sides.items():
        for level in levels:
            check_feature_map(level, f"{side}'s {name}")
    own, other = ([tuple(level.shape) for level in levels] for levels in sides.values())
    if own != other:
        raise ValueError(
            f"student and teacher must predict {name} at the same anchors, but student is "
            f"{own} and teacher is {other}. Both heads need the same strides, anchors and classes."
        )
    return rows_of(student, anchors, name), rows_of(teacher, anchors, name).detach()


def anchor_values(values: Levels, like: Tensor, name: str) -> Tensor:
    """Put a value of each anchor, as a head's loss gets them, into rows, in float32.

    Args:
        values: Numbers of any shape for each level, or a list of them, in mmdet's order: level,
            image, height, width, anchor.
        like: Rows (R, ...) of the anchors.
        name: What messages call the values.

    Returns:
        Values (R,), detached.

    Raises:
        ValueError: If there is not one for each anchor.
    """
    found = torch.cat([one.detach().flatten() for one in levels_of(values)]).float()
    if len(found) != len(like):
        raise ValueError(
            f"{name} must have a number for each anchor, but there are {len(found)} for "
            f"{len(like)} anchors. Select what the head's own loss of classes is called with."
        )
    return found


def anchor_doubts(scores: Levels, anchors: int, labels: Levels | None = None) -> Tensor:
    """Return how unsure a teacher is of each anchor: :func:`binary_doubts`.

    Args:
        scores: Logits (N, A * classes, H, W) of sigmoids, or a list of them.
        anchors: Anchors A of a place.
        labels: Class of each anchor of each level, as a head's loss gets them; ``None`` for the
            entropy.

    Returns:
        Doubts (R,) in float32, without gradient.

    Raises:
        ValueError: If there is not one label for each anchor.
    """
    rows = rows_of(scores, anchors, "scores")
    given = None if labels is None else anchor_values(labels, rows, "labels").long()
    return binary_doubts(rows, given)


def binary_doubts(logits: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return how unsure logits of sigmoids are of each anchor, summed over the classes.

    Args:
        logits: Class scores (R, classes).
        labels: Class of each anchor, integers (R,), ``classes`` for background: the cross-entropy;
            ``None`` for the entropy.

    Returns:
        Doubts (R,) in float32, without gradient.

    Raises:
        ValueError: If the labels are not R of these classes or the background.
    """
    scores = logits.detach().float()
    if labels is None:
        wanted = scores.sigmoid()
        return F.binary_cross_entropy_with_logits(scores, wanted, reduction="none").sum(1)
    classes = scores.shape[1]
    check_indices("labels", labels, len(scores), classes + 1)
    nothing = F.softplus(scores).sum(1)  # of the background
    own = scores.gather(1, labels.long().clamp(max=classes - 1)[:, None])[:, 0]
    return nothing - own * (labels < classes)


def counted(weights: Tensor, label_weights: Levels | None) -> Tensor:
    """Return weights (R,) that are 0 where label weights are; see :func:`anchor_values`."""
    if label_weights is None:
        return weights
    return weights * (anchor_values(label_weights, weights, "label_weights") > 0)


def divisor_of(average: Levels | float) -> Tensor | float:
    """Return a divisor, which a head that calls its loss for each level gives once for each."""
    if isinstance(average, int | float):
        return average
    return levels_of(average)[0].detach().float().reshape(()).clamp(min=1.0)


def confidence(scores: Levels, anchors: int) -> Tensor:
    """Return the highest class probability of each row, without gradient.

    Args:
        scores: Logits (N, A * classes, H, W) of a sigmoid, or a list of them.
        anchors: Anchors A of a place.

    Returns:
        Probabilities (R,).
    """
    return rows_of(scores, anchors, "scores").detach().sigmoid().amax(dim=1)


def weighted_mean(
    values: Tensor,
    weights: Tensor,
    average: Levels | float | None,
    shares: Tensor | None = None,
) -> Tensor:
    """Sum weighted values and divide by a number, the sum of the weights by default.

    Args:
        values: Values (R,) or (N, Q).
        weights: Weights of the same shape.
        average: The divisor, as :func:`divisor_of` takes it; ``None`` takes :func:`total_weight`.
        shares: Further factors (R,), which do not change the divisor.

    Raises:
        ValueError: If the two differ in shape.
    """
    if weights.shape != values.shape:
        raise ValueError(
            f"weights must be one for each anchor, {tuple(values.shape)}, but they are "
            f"{tuple(weights.shape)}. Give them in the order of the rows, without further axes."
        )
    divisor = total_weight(weights) if average is None else divisor_of(average)
    if shares is not None:
        weights = weights * shares
    return (values * weights).sum() / divisor


def total_weight(weights: Tensor) -> Tensor:
    """Return the sum of weights, without gradient, the mean of it over the ranks, and at least 1.

    So a batch in which the teacher sees nothing gives next to nothing, and ranks that average their
    gradients train as one with all images does.
    """
    return mean_over_ranks(weights.detach().sum()).clamp(min=1.0)


def binary_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of (p, 1 - p) from (q, 1 - q), element by element; p, q = sigmoid of teacher, student.

    Its gradient is that of the binary cross-entropy; at equality it is 0.

    Args:
        student: Logits of any shape.
        teacher: Logits of the same shape.
    """
    wanted = teacher.sigmoid()
    cross, own = (
        F.binary_cross_entropy_with_logits(one, wanted, reduction="none")
        for one in (student, teacher)
    )
    return cross - own


def giou(boxes: Tensor, others: Tensor, eps: float = 1e-6) -> Tensor:
    """Generalized IoU of boxes, element by element, which may be broadcast.

    Args:
        boxes: Corners (..., 4): left, top, right, bottom.
        others: Corners (..., 4).
        eps: Smallest area that divides.

    Returns:
        Values (...) from -1 to 1.
    """
    common, union = _common_and_union(boxes, others, eps)
    high, low = torch.maximum(boxes, others), torch.minimum(boxes, others)
    hull = (high[..., 2:] - low[..., :2]).clamp(min=0.0).prod(dim=-1).clamp(min=eps)
    return common / union - (hull - union) / hull


def iou(boxes: Tensor, others: Tensor, eps: float = 1e-6) -> Tensor:
    """IoU of boxes, from 0 to 1, of the same arguments as :func:`giou`."""
    common, union = _common_and_union(boxes, others, eps)
    return common / union


def _common_and_union(boxes: Tensor, others: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    high, low = torch.maximum(boxes, others), torch.minimum(boxes, others)
    common = (low[..., 2:] - high[..., :2]).clamp(min=0.0).prod(dim=-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(dim=-1) for one in (boxes, others)]
    return common, (areas[0] + areas[1] - common).clamp(min=eps)
