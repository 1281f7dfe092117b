"""Base class of the losses that have layers of their own for each level of maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kd_core.attention import match_sizes
from kd_core.checks import check_same_channels, paired_levels
from kd_core.losses.base import DistillationLoss


class LevelLayersLoss(DistillationLoss):
    """A loss on maps of equal channels with trained layers for each level: ``levels``.

    A subclass says in ``make_level`` what a level has, and in ``layers_name`` what messages call
    that. Of two sizes the larger map is average-pooled to the smaller.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.
    """

    accepts_lists = True
    equal_channels = True
    layers_name = "layers"

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.levels = nn.ModuleList()

    def make_level(self, level: int, channels: int) -> nn.Module:
        """Return the layers of a level, by its number, for maps of so many channels."""
        raise NotImplementedError

    def prepare(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> None:
        """Make the layers for maps of these channels; those that fit already stay.

        Args:
            student: Feature map (N, C, H, W), or one for each level.
            teacher: The same.

        Raises:
            ValueError: If a map is not 4-D, or if N, C or the number of levels differs.
        """
        pairs = self.matched(student, teacher)
        channels = [one.shape[1] for one, _ in pairs]
        if channels != self._made_for():
            made = [self.make_level(level, width) for level, width in enumerate(channels)]
            for level, width in zip(made, channels, strict=True):
                level.made_for = width  # type: ignore[assignment]
            self.levels = nn.ModuleList(made).to(pairs[0][0].device)

    def matched(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the maps of each level in equal sizes, the teacher's detached.

        Args:
            student: Feature map (N, C, H, W), or one for each level.
            teacher: The same.

        Raises:
            ValueError: If a map is not 4-D, or if N, C or the number of levels differs.
        """
        pairs = [match_sizes(s, t.detach()) for s, t in paired_levels(student, teacher)]
        for pair in pairs:
            check_same_channels(*pair)
        return pairs

    def check_ready(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Require that the layers were made for maps of these channels.

        Raises:
            ValueError: If they were not.
        """
        channels = [one.shape[1] for one, _ in pairs]
        if channels != self._made_for():
            raise ValueError(
                f"the loss has {self.layers_name} for levels of {self._made_for()} channels, "
                f"but the maps have {channels}. Give Distiller.attach an example, or call "
                "prepare() with such maps before the optimizer is made."
            )

    def _made_for(self) -> list[int]:
        return [level.made_for for level in self.levels]  # type: ignore[misc]
