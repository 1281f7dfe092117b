"""Pooling of a trunk's feature map or tokens to one vector for each image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_core.checks import check_positive

POOLINGS = ("average", "max", "average_max", "gem", "token")
_SMALLEST = 1e-6  # keeps the gradient of the power finite where a value is 0


class Pooling(nn.Module):
    """Pool a feature map (N, C, H, W) or a transformer's tokens (N, L, C) to vectors (N, C).

    ``average`` and ``max`` are over positions, ``average_max`` is their sum; ``gem`` is the
    generalized mean ``(mean over positions of max(x, 1e-6)^p)^(1/p)`` with a trained power p
    (Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI
    2019, https://arxiv.org/abs/1711.02512), taken relative to the largest x so that no power
    overflows. Tokens may begin with some that are not positions: ``token`` takes the first of
    these, the class token; the others pool what follows them.

    Args:
        kind: One of ``average``, ``max``, ``average_max``, ``gem``, ``token``.
        power: Initial power of ``gem``.
        prefix: Tokens before the first position; 1 is the class token alone.

    Raises:
        ValueError: If the kind is unknown, the power is not above 0 and finite, or there is no
            class token to take.

    Example:
        >>> Pooling("max")(torch.arange(4.0).reshape(1, 1, 2, 2)).tolist()
        [[3.0]]
    """

    def __init__(self, kind: str = "average", power: float = 3.0, prefix: int = 1) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, but it is {kind!r}.")
        check_positive(**{"the power of GeM pooling": power})
        if kind == "token" and prefix < 1:
            raise ValueError(
                "pooling 'token' takes the class token, but this trunk has none. Use 'average'."
            )
        self.kind, self.prefix = kind, prefix
        self.power = nn.Parameter(torch.tensor(float(power))) if kind == "gem" else None

    def forward(self, features: Tensor) -> Tensor:
        """Pool.

        Args:
            features: Feature map (N, C, H, W) or tokens (N, L, C).

        Returns:
            Vectors (N, C).

        Raises:
            ValueError: If the shape is wrong, or the class token of a feature map is wanted.
        """
        if features.dim() == 4 and self.kind != "token":
            positions = features.flatten(start_dim=2)  # (N, C, P)
        elif features.dim() == 3:
            if self.kind == "token":
                return features[:, 0]
            positions = features[:, self.prefix :].transpose(1, 2)
        else:
            wanted = "tokens (N, L, C)" if self.kind == "token" else "a feature map (N, C, H, W)"
            raise ValueError(
                f"pooling {self.kind!r} takes {wanted}, but the trunk returns "
                f"{tuple(features.shape)}. Use 'token' for transformers alone."
            )
        return self._over(positions)

    def _over(self, positions: Tensor) -> Tensor:
        if self.power is not None:
            positions = positions.clamp(min=_SMALLEST)
            largest = positions.detach().amax(dim=2, keepdim=True)  # (N, C, 1)
            powered = (positions / largest).pow(self.power)
            return largest[:, :, 0] * powered.mean(dim=2).pow(1 / self.power)
        if self.kind == "max":
            return positions.amax(dim=2)
        average = positions.mean(dim=2)
        return average if self.kind == "average" else average + positions.amax(dim=2)

    def extra_repr(self) -> str:
        """Show the kind."""
        return self.kind


class UnitLength(nn.Module):
    """Scale each vector (N, D) to length 1, in float32; a zero vector stays zero."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Normalize vectors (N, D)."""
        return nn.functional.normalize(vectors.float(), dim=1, eps=1e-12)
