"""MGD: the teacher's maps are generated from the student's, part of which is masked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd_core.checks import (
    check_choice,
    check_weights,
    without_autocast,
)
from kd_core.connectors import Connector
from kd_core.losses.level_layers import LevelLayersLoss

_PRESETS: dict[str, tuple[float, float, str]] = {  # alpha, masked share, what is masked
    "one_stage": (2e-5, 0.65, "positions"),
    "two_stage": (5e-7, 0.45, "positions"),
    "segmenter": (2e-5, 0.75, "positions"),
    "classifier": (7e-5, 0.15, "channels"),
}


class MGDLoss(LevelLayersLoss):
    """Squared difference between the teacher's map and one generated from the masked student's.

        L = sum over levels of alpha / N * sum over C, H and W of (G(m S) - T)^2
        G = conv 3x3, ReLU, conv 3x3; m is 0 in a share of positions (N, 1, H, W) or of channels
            (N, C, 1, 1), drawn anew in each step, and 1 elsewhere; what is kept is not scaled up

    The sum goes over all places, masked or not, so alpha depends on the map's size. Yang, Li, Shao,
    Shi, Yuan and Yuan, "Masked Generative Distillation", ECCV 2022,
    https://arxiv.org/abs/2205.01529. Status: the authors' code. Not 0 for equal maps: G is no
    identity. Their connector is "1x1", where channels differ; of two sizes the larger is
    average-pooled to the smaller. Their one-stage students start with the teacher's neck and head
    (``inherit``). G is trained with the student and saved under ``distiller.``; ``prepare`` makes
    it. Masks are drawn on the maps' device.

    Args:
        preset: Alpha, share and kind of the authors' configs: "one_stage", "two_stage",
            "segmenter" (positions), "classifier" (channels of the last map, on ImageNet).
        alpha: Factor in the place of the preset's.
        masked: Share in the place of the preset's, from 0 to 1.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If the preset is unknown, ``masked`` is not from 0 to 1, or a factor is
            negative or not finite.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(2, 2, 8, 4, 4).unbind()
        >>> loss = MGDLoss()
        >>> loss.prepare(student, teacher)
        >>> loss(student, teacher).shape
        torch.Size([])
    """

    connector = "1x1"
    layers_name = "generators"

    def __init__(
        self,
        preset: str = "one_stage",
        alpha: float | None = None,
        masked: float | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_choice("preset", preset, _PRESETS)
        usual_alpha, usual_masked, self.what = _PRESETS[preset]
        self.alpha = usual_alpha if alpha is None else alpha
        self.masked = usual_masked if masked is None else masked
        check_weights(alpha=self.alpha, masked=self.masked)
        if self.masked > 1:
            raise ValueError(f"masked must be a share from 0 to 1, but it is {self.masked}.")

    def make_level(self, level: int, channels: int) -> nn.Module:
        """Return the generator of a level."""
        return Connector(channels, channels, "generator")

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Generate the teacher's maps and compare them.

        Args:
            student: Feature map (N, C, H, W), or one for each level.
            teacher: Feature map (N, C, H, W), or one for each level; no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If a map is not 4-D, if N, C or the number of levels differs, or if the maps
                are not those that the generators were made for.
        """
        pairs = self.matched(student, teacher)
        self.check_ready(pairs)
        losses = []
        for generator, (own, other) in zip(self.levels, pairs, strict=True):
            with without_autocast(own):
                generated = generator(own.float() * self._mask(own))
            losses.append((generated.float() - other.float()).square().sum() / len(own))
        return self.loss_weight * self.alpha * torch.stack(losses).sum()

    def _mask(self, feature: Tensor) -> Tensor:
        """Draw which positions (N, 1, H, W) or channels (N, C, 1, 1) are kept: 1 there."""
        count, channels, *size = feature.shape
        shape = (count, 1, *size) if self.what == "positions" else (count, channels, 1, 1)
        drawn = torch.rand(shape, device=feature.device)
        # As the authors draw: one of their two versions masks large numbers, the other small ones.
        kept = drawn <= 1 - self.masked if self.what == "positions" else drawn >= self.masked
        return kept.float()
