"""Connectors: layers that map a student's features to the teacher's channels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import check_choice

MAP_CONNECTORS = tuple(
    f"{kind}{norm}"
    for kind in ("1x1", "3x3", "1x1-relu-1x1", "generator")
    for norm in ("", "-norm")
)
VECTOR_CONNECTORS = ("linear", "linear-norm", "linear-relu-linear", "linear-relu-linear-norm")
CONNECTORS = (*MAP_CONNECTORS, *VECTOR_CONNECTORS)


class MapNorm(nn.BatchNorm2d):
    """Batch norm of maps that accepts a single value of each channel in training.

    The last batch of an epoch may be of one image. Its map (1, C, 1, 1) or vector (1, C) has no
    variance, and batch norm ends the training with an error. A connector must not: it takes the
    running statistics for this step and leaves them as they are. The student's own batch norms
    behave as without a teacher.

    Example:
        >>> import torch
        >>> MapNorm(8)(torch.randn(1, 8, 1, 1)).shape
        torch.Size([1, 8, 1, 1])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize a map (N, C, H, W)."""
        return _alone(self, input) if _is_alone(self, input) else super().forward(input)


class VectorNorm(nn.BatchNorm1d):
    """Batch norm of vectors that accepts a single one; see :class:`MapNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize vectors (N, C)."""
        return _alone(self, input) if _is_alone(self, input) else super().forward(input)


class Connector(nn.Module):
    """Layers that give a student's features the teacher's channels.

        1x1                  convolution with bias
        3x3                  convolution with bias, padding 1
        1x1-relu-1x1         two convolutions, the first to the teacher's channels already
        generator            3x3, ReLU, 3x3: MGD's
        linear               of vectors
        linear-relu-linear   of vectors, the first to the teacher's size already

    A name that ends in ``-norm`` has a batch norm behind the last layer, which then has no bias.
    Trained with the student and absent from the exported one.

    Args:
        in_channels: Channels C_s of the student's map, or size of its vector.
        out_channels: Channels C_t of the teacher's, or size.
        kind: One of ``MAP_CONNECTORS`` or ``VECTOR_CONNECTORS``.

    Raises:
        ValueError: If there is no such kind.

    Example:
        >>> import torch
        >>> Connector(8, 16)(torch.randn(2, 8, 4, 4)).shape
        torch.Size([2, 16, 4, 4])
        >>> Connector(8, 16, "linear")(torch.randn(2, 8)).shape
        torch.Size([2, 16])
    """

    def __init__(self, in_channels: int, out_channels: int, kind: str = "1x1-norm") -> None:
        super().__init__()
        check_choice("connector", kind, CONNECTORS)
        self.kind, self.channels = kind, (in_channels, out_channels)
        plain = kind.removesuffix("-norm")
        self.project = _layers(plain, in_channels, out_channels, bias=plain == kind)
        self.norm: nn.Module = nn.Identity()
        if plain != kind:
            norm = MapNorm if kind in MAP_CONNECTORS else VectorNorm
            self.norm = norm(out_channels)
            if isinstance(self.project, nn.Conv2d):
                weight = self.project.weight
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")

    def forward(self, student: Tensor) -> Tensor:
        """Give a student's map (N, C_s, H, W) or vector (N, C_s) the teacher's channels."""
        wanted = next(self.project.parameters()).dtype
        connected: Tensor = self.norm(self.project(student.to(wanted)))  # a trunk may be in half
        return connected


def kind_for(kind: str | None, axes: int) -> str:
    """Return the connector of features of a number of axes: the wanted one, or the default.

    Args:
        kind: The wanted kind; ``None`` for the default: "1x1-norm" or, of vectors, "linear-norm".
        axes: 4 of maps, 2 of vectors.

    Raises:
        ValueError: If the kind does not fit; names those that do.
    """
    fitting = MAP_CONNECTORS if axes == 4 else VECTOR_CONNECTORS
    if kind is None:
        return "1x1-norm" if axes == 4 else "linear-norm"
    if axes not in (2, 4) or kind not in fitting:
        what = {2: "vectors (N, C)", 4: "maps (N, C, H, W)"}.get(axes, f"features of {axes} axes")
        choices = f"choose one of {', '.join(fitting)}" if axes in (2, 4) else "there is none"
        raise ValueError(f"the connector {kind!r} does not fit {what}: {choices}.")
    return kind


def _layers(kind: str, before: int, after: int, bias: bool) -> nn.Module:
    """Make the layers of a kind; ``bias`` is whether the last has one."""
    if kind in ("linear", "linear-relu-linear"):
        last = nn.Linear(before if kind == "linear" else after, after, bias=bias)
        first = [] if kind == "linear" else [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*first, last) if first else last
    size = 3 if kind in ("3x3", "generator") else 1
    if kind in ("1x1", "3x3"):
        return nn.Conv2d(before, after, size, padding=size // 2, bias=bias)
    return nn.Sequential(
        nn.Conv2d(before, after, size, padding=size // 2),
        nn.ReLU(),
        nn.Conv2d(after, after, size, padding=size // 2, bias=bias),
    )


def _is_alone(norm: nn.modules.batchnorm._BatchNorm, values: Tensor) -> bool:
    return norm.training and values.numel() == values.shape[1]


def _alone(norm: nn.modules.batchnorm._BatchNorm, values: Tensor) -> Tensor:
    return F.batch_norm(
        values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
