"""ASCKD: samples relate to one another, by where the network looks, as in the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.attention import activation_map, pool_to
from kd_core.checks import check_choice, check_feature_maps, paired_levels
from kd_core.losses.base import DistillationLoss
from kd_core.relations import samples as relations
from kd_core.relations.gather import gather_rows
from kd_core.relations.gram import EPSILON


class ASCKDLoss(DistillationLoss):
    """Squared difference between two correlation matrices of attention maps, over the levels.

        A_l  = unit(vec mean_c F_l^2)                                  (N, P_l)
        R_l  = A_l A_l^T with rows scaled to length 1                  (N, N)
        loss = loss_weight * sum over levels of mean over rows i of ||R_l^S[i] - R_l^T[i]||^2
        similarity:      R_l as above
        rbf:             R_l = rows of exp(-0.4 * squared distances of A_l) scaled to length 1
        centered:        A_l minus its mean over the batch, then as above; weight about 0.3
        distance_angle:  RKD-D + 2 RKD-A on A_l (a mean over pairs, and one over triplets)

    Gou, Sun, Yu, Wan, Ou and Yi, published as MASCKD, IEEE TII 2023,
    https://doi.org/10.1109/TII.2022.3209672. Status: reconstruction, since only the abstract is
    readable: relations between samples rest on attention maps of several middle layers. The weight
    47 is that of similarity-preserving distillation, 3000 at a batch of 64, made independent of
    the batch size. The maps of student and teacher may differ in C, H and W. A single sample has
    no relations: the loss is then 0; two have none that 'centered' could see, being opposites.
    Detectors have 2 to 8 images on each GPU: ``queue_size`` and ``gather`` add samples. Alone it
    harmed a detector in our measurements, and it helps a classifier a little, most as 'centered'.
    Relations alone do not align the student's space with the teacher's.

    Args:
        relation: 'similarity', 'distance_angle', 'rbf' or 'centered'.
        side: Average-pool the attention map to at most side x side first; None keeps its size.
            Queue and gather need it where maps vary in size.
        queue_size: How many past samples of both networks join the columns of R; the queue fills
            in training, is not part of the checkpoint, and is emptied when the maps change shape.
        gather: Relate the samples of all ranks. Every rank returns the loss of the whole batch;
            its gradient carries the factor world size, which DDP's mean takes out again.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``relation`` is unknown,
            ``side`` is below 1, or ``queue_size`` below 0.

    Example:
        >>> import torch
        >>> loss = ASCKDLoss()
        >>> loss(torch.randn(1, 8, 4, 4), torch.randn(1, 16, 7, 7)).item()
        0.0
    """

    accepts_lists = True

    def __init__(
        self,
        relation: str = "similarity",
        side: int | None = None,
        queue_size: int = 0,
        gather: bool = False,
        loss_weight: float = 47.0,
    ) -> None:
        super().__init__(loss_weight)
        check_choice("relation", relation, (*_RELATIONS, "distance_angle"))
        if side is not None and side < 1:
            raise ValueError(f"side must be at least 1, or None, but it is {side}.")
        if queue_size < 0:
            raise ValueError(f"queue_size must not be negative, but it is {queue_size}.")
        self.relation = relation
        self.side = side
        self.queue_size = queue_size
        self.gather = gather
        self._queues: dict[int, tuple[Tensor, Tensor]] = {}  # level -> past rows, plain attribute

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Compare how the two networks relate the samples of a batch.

        Args:
            student: Feature map (N, C_s, H_s, W_s), or one for each level.
            teacher: Feature map (N, C_t, H_t, W_t), or one for each level; no gradient flows
                into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If a map is not 4-D, if N or the number of levels differs, or if ranks
                hold maps of different sizes.
        """
        levels = paired_levels(student, teacher)
        losses = [self._level(index, *pair) for index, pair in enumerate(levels)]
        return self.loss_weight * torch.stack(losses).sum()

    def _level(self, level: int, student: Tensor, teacher: Tensor) -> Tensor:
        check_feature_maps(student, teacher)
        rows = [self._attention(student), self._attention(teacher.detach())]  # (N, P) each
        if self.gather:
            rows = [gather_rows(value) for value in rows]
        past = self._past(level, *rows)
        columns = [torch.cat(pair) for pair in zip(rows, past, strict=True)]  # (N + Q, P) each
        self._remember(level, *columns)
        if len(columns[0]) < 2:
            return rows[0].sum() * 0.0
        if self.relation == "distance_angle":
            return _distance_angle(rows, columns)
        relate = _RELATIONS[self.relation]
        first, second = (relate(*pair) for pair in zip(rows, columns, strict=True))
        return (first - second).square().sum(dim=1).mean()

    def _attention(self, feature: Tensor) -> Tensor:
        energy = activation_map(feature).unsqueeze(1)  # (N, 1, H, W)
        if self.side is not None:
            energy = pool_to(energy, self.side)
        return F.normalize(energy.flatten(start_dim=1), dim=1, eps=EPSILON)

    def _past(self, level: int, *rows: Tensor) -> tuple[Tensor, Tensor]:
        empty = (rows[0].detach()[:0], rows[1][:0])
        past = self._queues.get(level, empty)
        fits = all(
            old.shape[1] == new.shape[1] and old.device == new.device
            for old, new in zip(past, rows, strict=True)
        )
        return past if fits else empty

    def _remember(self, level: int, student: Tensor, teacher: Tensor) -> None:
        if self.queue_size and self.training and torch.is_grad_enabled():
            kept = slice(0, self.queue_size)  # the newest rows come first
            self._queues[level] = (student[kept].detach().clone(), teacher[kept].clone())


def _centered(rows: Tensor, columns: Tensor) -> Tensor:
    mean = columns.mean(dim=0)
    return relations.similarities(rows - mean, columns - mean)


_RELATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "similarity": relations.similarities,
    "rbf": relations.gaussian_kernel,
    "centered": _centered,
}


def _distance_angle(rows: Sequence[Tensor], columns: Sequence[Tensor]) -> Tensor:
    first, second = (
        relations.relative_distances(*pair) for pair in zip(rows, columns, strict=True)
    )
    angles = relations.angle_difference(columns[0], columns[1], vertices=len(rows[0]))
    return F.smooth_l1_loss(first, second) + 2 * angles
