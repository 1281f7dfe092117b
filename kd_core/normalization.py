"""Normalization of features without affine: a loss that does not depend on the teacher's scale."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_core.checks import check_choice
from kd_core.layers import Features, levels_of

NORMALIZATIONS = ("standard", "batch", "unit")  # of features; "logits" is that of class scores
_SMALLEST = 1e-6  # of a deviation or length: what is smaller is damped, not blown up
_SMALLEST_OF_LOGITS = 1e-3


@dataclass(frozen=True)
class Normalization:
    """Normalization of both sides of a term, its ``normalize``; see :func:`normalize`.

    Args:
        kind: "standard", "batch", "unit", or, of class scores, "logits".

    Raises:
        ValueError: If the kind is unknown.
    """

    kind: str

    def __post_init__(self) -> None:
        check_choice("normalize", self.kind, (*NORMALIZATIONS, "logits"))

    @property
    def of_logits(self) -> bool:
        """Return whether it is meant for class scores alone: of a loss with roles, "logits"."""
        return self.kind == "logits"

    def __call__(self, student: Features, teacher: Features) -> tuple[Features, Features]:
        """Normalize each level of both sides.

        Args:
            student: Map (N, C_s, H, W), vectors (N, C_s), or a list of them.
            teacher: As many levels.

        Returns:
            The same of both sides, in float32.

        Raises:
            ValueError: If a level is neither a map nor vectors.
        """
        pairs = zip(levels_of(student), levels_of(teacher), strict=True)
        levels = [normalize(self.kind, *pair) for pair in pairs]
        sides = tuple([pair[side] for pair in levels] for side in (0, 1))
        one_student, one_teacher = (
            side if isinstance(given, list) else side[0]
            for side, given in zip(sides, (student, teacher), strict=True)
        )
        return one_student, one_teacher


def normalize(kind: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Normalize a feature of the student and one of the teacher.

        standard:  (F - mean) / (std + 1e-6), both over N, H and W, for each channel; each side by
                   its own
        batch:     F / root of the mean over all entries of teacher^2; both sides by this one number
        unit:      F / ||F||_2 over the channels, for each position of a map, or each vector
        logits:    see :func:`standardize_logits`

    "standard" is batch norm without affine and without running statistics, on both sides, as
    RTMDet and DAMO-YOLO have it before their distillation loss; with a squared difference it is
    PKD. Neither side's scale counts, nor the offset of a channel. "batch" keeps both, relative to
    the teacher: imitation for a head that reads the teacher's own features. Neither side's scale
    counts in "unit", nor that of one position; the squared difference is then twice 1 - cosine,
    over C. A constant channel becomes 0 in "standard". In a distributed run all
    statistics are those of each rank's own batch.

    Args:
        kind: One of ``NORMALIZATIONS``, or "logits".
        student: Map (N, C_s, H_s, W_s) or vectors (N, C_s).
        teacher: Map (N, C_t, H_t, W_t) or vectors (N, C_t); no gradient flows into it.

    Returns:
        Both in float32, of the same shapes.

    Raises:
        ValueError: If the kind is unknown, or either is neither a map nor vectors.

    Example:
        >>> import torch
        >>> feature = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> student, teacher = normalize("standard", 10 * feature + 3, feature)
        >>> torch.allclose(student, teacher)
        True
    """
    check_choice("normalize", kind, (*NORMALIZATIONS, "logits"))
    _check_shape(student, "student")
    _check_shape(teacher, "teacher")
    student, teacher = student.float(), teacher.detach().float()
    if kind == "logits":
        return standardize_logits(student, "student"), standardize_logits(teacher, "teacher")
    if kind == "standard":
        return standardize(student), standardize(teacher)
    if kind == "unit":
        return _unit(student), _unit(teacher)
    scale = teacher.square().mean().sqrt().clamp(min=_SMALLEST)
    return student / scale, teacher / scale


def standardize(feature: Tensor) -> Tensor:
    """Subtract each channel's mean and divide by its deviation, both over all other axes.

    Args:
        feature: Map (N, C, H, W) or vectors (N, C).

    Returns:
        The same shape in float32; a channel that is constant, or has one value, becomes 0.
    """
    rows = feature.float().transpose(0, 1).flatten(start_dim=1)  # (C, N*H*W)
    centered = rows - rows.mean(dim=1, keepdim=True)
    centered = centered - centered.mean(dim=1, keepdim=True)  # what rounding the mean has left
    variance = centered.square().sum(dim=1, keepdim=True) / max(rows.shape[1] - 1, 1)
    # The clamp keeps the gradient of the root finite where a channel is constant.
    standard = centered / (variance.clamp(min=1e-24).sqrt() + _SMALLEST)
    return standard.reshape(-1, len(feature), *feature.shape[2:]).transpose(0, 1)


def standardize_logits(logits: Tensor, name: str = "logits") -> Tensor:
    """Bring the class scores of each sample to mean 0 and deviation 1, before any loss on them.

        (z - mean) / (std + 1e-7), both over the classes, for each sample; std of n - 1

    The gradient passes through mean and std, so that it is orthogonal to 1 and to z: the student's
    own loss alone sets the scale of its logits.

    Sun, Ren, Li, Wang and Cao, "Logit Standardization in Knowledge Distillation", CVPR 2024,
    https://arxiv.org/abs/2403.01427. Status: the authors' code, but a std below 1e-3 counts as
    1e-3: theirs blows up the gradient of constant logits. They take soft targets at temperature 2
    with weight 9 next to cross-entropy with 0.1, and DKD with weights 9 and 72.

    Args:
        logits: Class scores (N, classes).
        name: What the message calls them.

    Returns:
        The same shape in float32.

    Raises:
        ValueError: If they are not 2-D.

    Example:
        >>> import torch
        >>> standardize_logits(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[-1.0000,  0.0000,  1.0000]])
    """
    if logits.dim() != 2:
        raise ValueError(
            f"normalize='logits' takes class scores (N, classes), but {name} is "
            f"{tuple(logits.shape)}. Select the logits, or take another kind."
        )
    centered = logits.float() - logits.float().mean(dim=1, keepdim=True)
    variance = centered.square().sum(dim=1, keepdim=True) / max(logits.shape[1] - 1, 1)
    return centered / (variance.clamp(min=_SMALLEST_OF_LOGITS**2).sqrt() + 1e-7)


def _unit(feature: Tensor) -> Tensor:
    return feature * feature.square().sum(dim=1, keepdim=True).clamp(min=_SMALLEST**2).rsqrt()


def _check_shape(feature: Tensor, name: str) -> None:
    if feature.dim() not in (2, 4) or feature.numel() == 0:
        raise ValueError(
            f"normalize takes maps (N, C, H, W) or vectors (N, C), but {name} is "
            f"{tuple(feature.shape)}. Select another layer, or leave normalize out."
        )
