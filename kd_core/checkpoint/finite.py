"""Finite weights: NaN and infinity, left behind by a diverged training, are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checkpoint.reader import CheckpointError

_STATISTICS = ("running_mean", "running_var")
_SHOWN = 3


def require_finite_weights(model: nn.Module, weights: Mapping[str, Any], source: str) -> None:
    """Require that weights are finite.

    NaN is refused everywhere, infinity in parameters and in statistics of batch norms. Other
    buffers, such as attention masks, may be infinite.

    Args:
        model: The model that the weights are for.
        weights: Names and tensors.
        source: Where they come from, for the message.

    Raises:
        CheckpointError: Names the keys.
    """
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    bad = []
    for name, value in weights.items():
        strict = name in parameters or name.endswith(_STATISTICS)
        if isinstance(value, Tensor) and (found := _odd_values(value, strict)):
            bad.append(f"{name} has {found} of {value.numel():,}")
    if bad:
        more = f" and {len(bad) - _SHOWN:,} more keys" if len(bad) > _SHOWN else ""
        raise CheckpointError(
            f"every weight must be a finite number, but in {source or 'the state dict'} "
            f"{', '.join(bad[:_SHOWN])}{more}. That training diverged, or the file is damaged: "
            "take an earlier checkpoint."
        )


def _odd_values(value: Tensor, strict: bool) -> str:
    if not (value.is_floating_point() or value.is_complex()) or value.is_meta:
        return ""
    plain = value if value.element_size() > 1 else value.float()  # 8-bit types have no isnan
    if bool(torch.isfinite(plain).all()):
        return ""
    nan, infinite = int(plain.isnan().sum()), int(plain.isinf().sum())
    if nan:
        return f"{nan:,} NaN"
    return f"{infinite:,} infinite values" if strict else ""
