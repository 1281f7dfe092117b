"""What stands between a student's layer and a teacher's: channels and sizes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.attention import pool_to
from kd_core.checks import check_feature_maps


class MapNorm(nn.BatchNorm2d):
    """Batch norm of maps that bears a single value of each channel in training.

    The last batch of an epoch may be of one image. Its map (1, C, 1, 1) or vector (1, C) has no
    variance, and batch norm ends the training with an error. What is trained beside the student
    must not: it takes the running statistics for this step and leaves them as they are. The
    student's own batch norms are as they would be without a teacher.

    Example:
        >>> import torch
        >>> MapNorm(8)(torch.randn(1, 8, 1, 1)).shape
        torch.Size([1, 8, 1, 1])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize a map (N, C, H, W)."""
        return _alone(self, input) if _is_alone(self, input) else super().forward(input)


class VectorNorm(nn.BatchNorm1d):
    """The same for vectors; see :class:`MapNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize vectors (N, C)."""
        return _alone(self, input) if _is_alone(self, input) else super().forward(input)


class Connector(nn.Module):
    """1x1 convolution and batch norm that give a student's map the teacher's channels.

    Trained with the student and absent from the exported one.

    Args:
        in_channels: Channels C_s of the student's map.
        out_channels: Channels C_t of the teacher's map.

    Example:
        >>> import torch
        >>> Connector(8, 16)(torch.randn(2, 8, 4, 4)).shape
        torch.Size([2, 16, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.norm = MapNorm(out_channels)
        nn.init.kaiming_normal_(self.project.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, student: Tensor) -> Tensor:
        """Project a student's map.

        Args:
            student: Feature map (N, C_s, H, W).

        Returns:
            Feature map (N, C_t, H, W).
        """
        matched = student.to(self.project.weight.dtype)  # a trunk may run in half precision
        connected: Tensor = self.norm(self.project(matched))
        return connected


class VectorConnector(nn.Module):
    """Linear layer and batch norm that give a student's vector the teacher's size.

    Args:
        in_channels: Size D_s of the student's vector.
        out_channels: Size D_t of the teacher's vector.

    Example:
        >>> import torch
        >>> VectorConnector(8, 16)(torch.randn(2, 8)).shape
        torch.Size([2, 16])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = VectorNorm(out_channels)

    def forward(self, student: Tensor) -> Tensor:
        """Project a student's vector.

        Args:
            student: Vector (N, D_s).

        Returns:
            Vector (N, D_t).
        """
        matched = student.to(self.project.weight.dtype)  # a trunk may run in half precision
        connected: Tensor = self.norm(self.project(matched))
        return connected


def match_sizes(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger map to the smaller, each axis on its own.

    Args:
        student: Feature map (N, C_s, H_s, W_s).
        teacher: Feature map (N, C_t, H_t, W_t).

    Returns:
        Student and teacher with equal H and W; maps that agree already are returned as they are.

    Raises:
        ValueError: If either is not 4-D or empty, or if N differs.

    Example:
        >>> import torch
        >>> student, teacher = match_sizes(torch.randn(2, 3, 4, 9), torch.randn(2, 5, 8, 6))
        >>> student.shape, teacher.shape
        (torch.Size([2, 3, 4, 6]), torch.Size([2, 5, 4, 6]))
    """
    check_feature_maps(student, teacher)
    if student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    size = smaller_size(student, teacher)
    return pool_to(student, size), pool_to(teacher, size)


def smaller_size(student: Tensor, teacher: Tensor) -> tuple[int, int]:
    """The smaller height and the smaller width of two maps.

    Args:
        student: Feature map (N, C_s, H_s, W_s).
        teacher: Feature map (N, C_t, H_t, W_t).

    Returns:
        Height and width.
    """
    return (
        min(student.shape[2], teacher.shape[2]),
        min(student.shape[3], teacher.shape[3]),
    )


def _is_alone(norm: nn.modules.batchnorm._BatchNorm, values: Tensor) -> bool:
    return norm.training and values.numel() == values.shape[1]


def _alone(norm: nn.modules.batchnorm._BatchNorm, values: Tensor) -> Tensor:
    return F.batch_norm(
        values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
