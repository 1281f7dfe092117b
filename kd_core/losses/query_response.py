"""Query responses of DETR-like heads: classes and boxes, query by query or after matching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_choice, check_positive, check_weights, without_autocast
from kd_core.dense import giou, weighted_mean
from kd_core.losses.base import DistillationLoss
from kd_core.packages import missing_package

_SHORTEST = 1e-4  # side of a box in the overlap, so that equal boxes overlap
_EPS = 1e-9

Side = dict[str, Tensor]


class QueryResponseLoss(DistillationLoss):
    """Classes and boxes of the last decoder layer's queries.

        class   = sum_i w_i KL_i / max(1, sum w): KL of the teacher's class probabilities, from the
                  student's, of query i; of sigmoids, the sum over classes of that of (p, 1 - p)
        box     = sum_i w_i sum over 4 of |student - teacher| / max(1, sum w)
        overlap = sum_i w_i (1 - GIoU of the two boxes) / max(1, sum w)
        w_i     = the teacher's highest class probability, without background
        match="query":   query i of both
        match="matched": each of the teacher's queries (of the most confident, if the student has
                  fewer) with one of the student's, at the lowest sum of -p.q * class weight and of
                  box and overlap, as above, in each image

    Status: ours: the matching and the weights 1, 5, 2 are those of Carion et al., "End-to-End
    Object Detection with Transformers", ECCV 2020, https://arxiv.org/abs/2005.12872, with the
    teacher's predictions in the place of the ground truth. The optimal matching is scipy's, which
    takes one image after the other on the CPU, as in DETR's own training.

    Args:
        form: "sigmoid" (Deformable DETR, DINO, ...) or "softmax" (DETR: background last).
        match: "matched", or "query" where the student's queries mean what the teacher's do, as if
            it has inherited them (``inherit=["query_embedding"]``).
        queries: Number of the student's own queries, which come last; in training others may come
            before them (DINO's denoising). ``None``: of a config the student's ``num_queries``,
            otherwise as many as the teacher has, if there are.
        weights: Weights of class, box and overlap.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If an option is unknown, or a number is out of its range.

    Example:
        >>> import torch
        >>> sides = dict(scores=torch.zeros(6, 2, 9, 3), boxes=torch.full((6, 2, 9, 4), 0.5))
        >>> sorted(QueryResponseLoss(match="query")(sides, sides))
        ['box', 'class', 'overlap']
    """

    roles = ("scores", "boxes")

    def __init__(
        self,
        form: str = "sigmoid",
        match: str = "matched",
        queries: int | None = None,
        weights: Sequence[float] = (1.0, 5.0, 2.0),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_choice("form", form, ("sigmoid", "softmax"))
        check_choice("match", match, ("matched", "query"))
        if queries is not None:
            check_positive(queries=queries)
        self.weights = dict(zip(("class", "box", "overlap"), weights, strict=True))
        check_weights(**{f"weights ({name})": one for name, one in self.weights.items()})
        self.form = form
        self.match = match
        self.queries = queries

    def forward(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compare the queries of a batch.

        Args:
            student: ``scores``: logits (L, N, Q, classes) of all decoder layers, or (N, Q, classes)
                of one; ``boxes``: (L, N, Q, 4) or (N, Q, 4): center, width, height, as shares of
                the image.
            teacher: The same, its own number of queries; no gradient flows into them.

        Returns:
            Scalars in float32: ``class``, ``box`` and ``overlap``.

        Raises:
            ValueError: If images or classes differ, or the queries do not fit.
            ImportError: If matching lacks scipy.
        """
        _check_sides(student, teacher)
        own = {role: student[role].float() for role in self.roles}
        target = {role: teacher[role].detach().float() for role in self.roles}
        own, target = ({r: x[-1] if x.dim() == 4 else x for r, x in one.items()}
                       for one in (own, target))  # fmt: skip
        own = self._own_queries(own, target["scores"].shape[1])
        sure = self._probabilities(target["scores"]).amax(dim=2)  # (N, Q_t)
        if self.match == "matched":
            with torch.no_grad(), without_autocast(sure):
                order, chosen = self._matched(own, target, sure)
            sure = sure.gather(1, order)
            target, own = _gather(target, order), _gather(own, chosen)
        parts = {
            "class": self._divergence(own["scores"], target["scores"]),
            "box": (own["boxes"] - target["boxes"]).abs().sum(dim=2),
            "overlap": 1.0 - giou(_corners(own["boxes"]), _corners(target["boxes"]), _EPS),
        }
        return {
            name: self.loss_weight * self.weights[name] * weighted_mean(part, sure, None)
            for name, part in parts.items()
        }

    def _own_queries(self, student: Side, count: int) -> Side:
        """Leave out what comes before the student's own queries."""
        have = student["scores"].shape[1]
        wanted = min(have, self.queries or count) if self.match == "matched" else count
        if wanted > have or (self.match == "query" and self.queries not in (None, count)):
            raise ValueError(
                f"student and teacher must have the same queries, but student has "
                f"{self.queries or have} and teacher has {count}. Take match='matched'."
            )
        return {role: one[:, have - wanted :] for role, one in student.items()}

    def _probabilities(self, scores: Tensor) -> Tensor:
        if self.form == "sigmoid":
            return scores.sigmoid()
        return scores.softmax(dim=2)[..., :-1] if scores.shape[2] > 1 else scores.softmax(dim=2)

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the divergence (N, Q) of logits (N, Q, classes)."""
        if self.form == "softmax":
            logs = [torch.log_softmax(one, dim=2) for one in (student, teacher)]
            return F.kl_div(logs[0], logs[1], reduction="none", log_target=True).sum(dim=2)
        wanted = teacher.sigmoid()
        cross, own = (
            F.binary_cross_entropy_with_logits(one, wanted, reduction="none")
            for one in (student, teacher)
        )
        return (cross - own).sum(dim=2)

    def _matched(self, student: Side, teacher: Side, sure: Tensor) -> tuple[Tensor, Tensor]:
        """Return the teacher's queries (N, K) that are matched, and the student's (N, K)."""
        try:
            from scipy.optimize import linear_sum_assignment
        except ImportError as error:
            raise missing_package("QueryResponseLoss(match='matched')", "scipy") from error
        count = min(student["scores"].shape[1], sure.shape[1])
        order = sure.topk(count, dim=1).indices  # (N, K)
        some = _gather(teacher, order)
        p, q = self._probabilities(some["scores"]), self._probabilities(student["scores"])
        target, own = (_corners(one["boxes"]) for one in (some, student))
        overlap = 1.0 - giou(target[:, :, None], own[:, None], _EPS)  # (N, K, Q)
        cost = (
            -self.weights["class"] * (p @ q.transpose(1, 2))
            + self.weights["box"] * torch.cdist(some["boxes"], student["boxes"], p=1.0)
            + self.weights["overlap"] * overlap
        )
        pairs = [linear_sum_assignment(one)[1] for one in cost.nan_to_num(1e6).cpu().numpy()]
        chosen = torch.stack([torch.as_tensor(one) for one in pairs])
        return order, chosen.to(order.device)


def _check_sides(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> None:
    """Require queries of the same images and classes."""
    for role in QueryResponseLoss.roles:
        own, other = student[role], teacher[role]
        same = own.dim() in (3, 4) and own.dim() == other.dim() and own.numel() and other.numel()
        if not same or own.shape[-3] != other.shape[-3] or own.shape[-1] != other.shape[-1]:
            raise ValueError(
                f"student and teacher must be a batch of queries (N, Q, ...) or (L, N, Q, ...), "
                f"with the same images and classes, but {role} of student is {tuple(own.shape)} "
                f"and of teacher {tuple(other.shape)}."
            )
    if student["boxes"].shape[-1] != 4:
        raise ValueError(f"boxes must be (..., 4), but they are {tuple(student['boxes'].shape)}.")


def _gather(side: Side, index: Tensor) -> Side:
    """Pick queries (N, K) of scores and boxes."""
    return {
        role: one.gather(1, index[..., None].expand(-1, -1, one.shape[2]))
        for role, one in side.items()
    }


def _corners(boxes: Tensor) -> Tensor:
    """Corners of boxes (..., 4) of center, width and height."""
    center, half = boxes[..., :2], 0.5 * boxes[..., 2:].clamp(min=_SHORTEST)
    return torch.cat((center - half, center + half), dim=-1)
