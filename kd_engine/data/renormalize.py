"""Renormalization: a batch normalized for the student becomes one for the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Renormalize:
    """Undo the student's mean, std and channel order, and apply the teacher's.

    The padding, 0 or whatever ``pad_value`` the preprocessors have, becomes the teacher's.

    Args:
        student: The student's data preprocessor.
        teacher: The teacher's.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        student_mean, student_std = _statistics(student)
        teacher_mean, teacher_std = _statistics(teacher)
        self.flip = _flips(student) != _flips(teacher)
        if self.flip:
            student_mean, student_std = student_mean.flip(1), student_std.flip(1)
        self.scale = student_std / teacher_std  # (1, 3, 1, 1)
        self.shift = (student_mean - teacher_mean) / teacher_std
        self.pad_value = float(getattr(teacher, "pad_value", 0))
        self.pads_differ = self.pad_value != float(getattr(student, "pad_value", 0))

    @property
    def needed(self) -> bool:
        """Return whether the two preprocessors differ at all."""
        same = torch.allclose(self.scale, torch.ones(1)) and torch.allclose(
            self.shift, torch.zeros(1), atol=1e-6
        )
        return self.flip or self.pads_differ or not same

    def __call__(self, inputs: Tensor, data_samples: Sequence[Any] | None = None) -> Tensor:
        """Renormalize a batch.

        Args:
            inputs: Images (N, 3, H, W) as the student gets them.
            data_samples: Their samples; ``img_shape`` says where the padding begins; without them
                there is none.

        Returns:
            Images (N, 3, H, W) as the teacher expects them.
        """
        self.scale, self.shift = self.scale.to(inputs.device), self.shift.to(inputs.device)
        images = inputs.flip(1) if self.flip else inputs
        images = images * self.scale.to(images.dtype) + self.shift.to(images.dtype)
        if data_samples is None:
            return images
        shapes = torch.tensor([sample.img_shape[:2] for sample in data_samples])
        height, width = inputs.shape[2:]
        rows = torch.arange(height) < shapes[:, :1]  # (N, H)
        columns = torch.arange(width) < shapes[:, 1:]  # (N, W)
        inside = (rows[:, :, None] & columns[:, None, :]).to(inputs.device)
        return images.masked_fill(~inside[:, None], self.pad_value)


def _statistics(preprocessor: nn.Module) -> tuple[Tensor, Tensor]:
    if not getattr(preprocessor, "_enable_normalize", False):
        return torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    mean, std = preprocessor.mean, preprocessor.std
    assert isinstance(mean, Tensor) and isinstance(std, Tensor)
    return mean.float().cpu().reshape(1, -1, 1, 1), std.float().cpu().reshape(1, -1, 1, 1)


def _flips(preprocessor: nn.Module) -> bool:
    return bool(getattr(preprocessor, "_channel_conversion", False))
