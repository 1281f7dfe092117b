"""FGD: imitation of maps in and outside of boxes, weighted by the teacher's attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kd_core.box_masks import Boxes, foreground_weights
from kd_core.checks import (
    check_choice,
    check_positive,
    check_weights,
    dtype_of,
    without_autocast,
)
from kd_core.losses.level_layers import LevelLayersLoss

_PARTS = ("foreground", "background", "attention", "relation")
_PRESETS: dict[str, tuple[float, ...]] = {  # weights of the parts, temperature
    "one_stage": (1e-3, 5e-4, 5e-4, 5e-6, 0.5),
    "anchor_free": (1.6e-3, 8e-4, 8e-4, 8e-6, 0.8),
    "two_stage": (5e-5, 2.5e-5, 5e-5, 5e-7, 0.5),
}


class FGDLoss(LevelLayersLoss):
    """Focal and global distillation of a detector's maps, in four parts.

        s(F) = HW softmax over positions of mean_c |F| / t;  c(F) = C softmax over channels of
               mean over positions of |F| / t;  s and c without an argument are the teacher's
        L    = sum over levels of 1/N * [
               a sum Mf s c (S - T)^2  +  b sum Mb s c (S - T)^2       foreground, background
               + g (sum |c(S) - c| + sum |s(S) - s|)                   attention
               + l sum (R_S(S) - R_T(T))^2 ]                           relation
        R(F) = F + V2 relu(LN(V1 sum over positions of softmax(u F) F)): a global context block
        Mf   = 1 / number of cells of a box, in its cells (the smaller box where two meet)
        Mb   = 1 / number of the other cells, in them

    All sums go over C, H and W: the value grows with the map. Yang, Li, Jiang, Gong, Yuan, Zhao and
    Yuan, "Focal and Global Knowledge Distillation for Detectors", CVPR 2022,
    https://arxiv.org/abs/2111.11837. Status: the authors' code, as in value and gradient. It
    differs in this: boxes are scaled by the padded input, not by each image's own size, and a box
    that begins outside the image counts in the image. As there, the teacher's block is trained too,
    and the last layer of each block starts at 0. Their connector is "1x1", where channels differ;
    of two sizes the larger is average-pooled to the smaller. Their students start with the
    teacher's neck and head (``inherit``). The blocks are trained with the student and saved under
    ``distiller.``; ``prepare`` makes them.

    Args:
        preset: Weights and temperature of the authors' configs: "one_stage" (RetinaNet),
            "anchor_free" (FCOS; they take it with temperature 0.5 for RepPoints), "two_stage".
        weights: Part to weight, in the place of the preset's; parts are foreground, background,
            attention and relation. A part of weight 0 costs nothing.
        temperature: Divisor t in the place of the preset's, above 0.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If the preset or a part is unknown, a weight is negative or not finite, or the
            temperature is not above 0.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(2, 2, 8, 4, 4).unbind()
        >>> loss = FGDLoss()
        >>> loss.prepare(student, teacher)
        >>> boxes = [torch.tensor([[0., 0., 12., 20.]]), torch.zeros(0, 4)]
        >>> loss(student, teacher, boxes=boxes, image_size=(32, 32)).shape
        torch.Size([])
    """

    connector = "1x1"
    layers_name = "context blocks"
    requires = ("boxes", "image_size")

    def __init__(
        self,
        preset: str = "one_stage",
        weights: Mapping[str, float] | None = None,
        temperature: float | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_choice("preset", preset, _PRESETS)
        for part in weights or {}:
            check_choice("a part of weights", part, _PARTS)
        *usual, usual_temperature = _PRESETS[preset]
        self.weights = {**dict(zip(_PARTS, usual, strict=True)), **(weights or {})}
        check_weights(**self.weights)
        self.temperature = usual_temperature if temperature is None else temperature
        check_positive(temperature=self.temperature)

    def prepare(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> None:
        """Make the context blocks, unless the relation has no weight: see the base class."""
        if self.weights["relation"]:
            super().prepare(student, teacher)

    def make_level(self, level: int, channels: int) -> nn.Module:
        """Return the context blocks of a level, one a side."""
        return nn.ModuleDict({side: _Context(channels) for side in ("student", "teacher")})

    def forward(
        self,
        student: Tensor | Sequence[Tensor],
        teacher: Tensor | Sequence[Tensor],
        boxes: Boxes,
        image_size: tuple[int, int],
    ) -> Tensor:
        """Compare the maps of all levels.

        Args:
            student: Feature map (N, C, H, W), or one for each level.
            teacher: Feature map (N, C, H, W), or one for each level; no gradient flows into it.
            boxes: Ground truth (B_i, 4) of each image, xyxy in pixels of the padded input.
            image_size: Height and width in pixels of the padded input.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If a map is not 4-D, if N, C or the number of levels differs, if the boxes
                do not fit, or if the maps are not those that the blocks were made for.
        """
        pairs = self.matched(student, teacher)
        relation = self.weights["relation"]
        if relation:
            self.check_ready(pairs)
        losses = []
        for level, pair in enumerate(pairs):
            own, others = (side.float() for side in pair)
            losses += self._local(own, others, boxes, image_size)
            if relation:
                losses.append(relation * self._relation(level, own, others))
        return self.loss_weight * torch.stack(losses).sum()

    def _local(
        self, student: Tensor, teacher: Tensor, boxes: Boxes, image_size: tuple[int, int]
    ) -> list[Tensor]:
        """Return the weighted parts of one level but the relation; at least one number."""
        places, channels = self._attention(teacher)
        count, found = len(student), [student.sum() * 0.0]
        foreground, background, attention = (self.weights[part] for part in _PARTS[:3])
        if foreground or background:
            squares = (student - teacher).square() * channels[:, :, None, None]
            inside = foreground_weights(boxes, image_size, student)
            outside = (inside == 0).float()
            outside = outside / outside.sum(dim=(1, 2), keepdim=True).clamp(min=1)
            mask = (foreground * inside + background * outside) * places  # (N, H, W)
            found.append((squares.sum(dim=1) * mask).sum() / count)
        if attention:
            own_places, own_channels = self._attention(student)
            apart = (own_channels - channels).abs().sum() + (own_places - places).abs().sum()
            found.append(attention * apart / count)
        return found

    def _attention(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention of positions (N, H, W) and channels (N, C), each of mean 1."""
        strength = feature.abs()
        positions = strength.mean(dim=1).flatten(start_dim=1) / self.temperature  # (N, P)
        channels = strength.mean(dim=(2, 3)) / self.temperature
        places = positions.shape[1] * positions.softmax(dim=1)
        size = feature.shape[2:]
        return places.unflatten(1, size), channels.shape[1] * channels.softmax(dim=1)

    def _relation(self, level: int, student: Tensor, teacher: Tensor) -> Tensor:
        blocks = self.levels[level]
        assert isinstance(blocks, nn.ModuleDict)
        dtype = dtype_of(blocks)
        with without_autocast(student):
            apart = blocks["student"](student.to(dtype)) - blocks["teacher"](teacher.to(dtype))
        squares: Tensor = apart.float().square().sum() / len(student)
        return squares


class _Context(nn.Module):
    """Global context block: each map plus a transformed mean of its positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(channels // 2, 1)
        self.mask = nn.Conv2d(channels, 1, kernel_size=1, bias=False)  # a softmax ignores a bias
        last = nn.Conv2d(width, channels, kernel_size=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=1), nn.LayerNorm([width, 1, 1]), nn.ReLU(), last
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Add the context to a map (N, C, H, W)."""
        weights = self.mask(feature).flatten(start_dim=2).softmax(dim=2)  # (N, 1, P)
        context = (feature.flatten(start_dim=2) * weights).sum(dim=2)  # (N, C)
        found: Tensor = feature + self.transform(context[:, :, None, None])
        return found
