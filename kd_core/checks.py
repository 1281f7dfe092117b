"""Checks of inputs, shared by all losses, so that their messages are alike."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from kd_core.layers import levels_of

_TOKENS = (
    " Transformers give tokens (N, L, C): select a layer that gives a map, or compare pooled "
    "vectors or embeddings with a loss for those."
)


def check_weights(**weights: float) -> None:
    """Require factors on losses.

    Args:
        weights: Each by its name.

    Raises:
        ValueError: If one is not a number, negative or not finite; names the first.
    """
    for name, weight in weights.items():
        _check_number(name, weight)
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name} must be finite and at least 0, but it is {weight}.")


def check_positive(**values: float) -> None:
    """Require divisors and scales, such as temperatures.

    Args:
        values: Each by its name.

    Raises:
        ValueError: If one is not a number, not above 0 or not finite; names the first.
    """
    for name, value in values.items():
        _check_number(name, value)
        if not 0 < value < math.inf:
            rule = "finite" if value == math.inf else "above 0"
            raise ValueError(f"{name} must be {rule}, but it is {value}.")


def check_power(power: float) -> None:
    """Require an exponent of absolute activations.

    Args:
        power: The exponent.

    Raises:
        ValueError: If it is not a number, below 1 or not finite.
    """
    check_positive(power=power)
    if power < 1:
        raise ValueError(f"power must be at least 1, but it is {power}.")


def check_feature_map(feature: Tensor, name: str = "feature") -> None:
    """Require one feature map.

    Args:
        feature: Feature map (N, C, H, W).
        name: What the message calls it.

    Raises:
        ValueError: If it is not 4-D, or if one of its sizes is 0.
    """
    if feature.dim() != 4:
        raise ValueError(
            f"{name} must be a feature map (N, C, H, W), but its shape is {tuple(feature.shape)}."
            + (_TOKENS if feature.dim() == 3 else "")
        )
    _check_filled(feature, name)


def check_feature_maps(student: Tensor, teacher: Tensor) -> None:
    """Require two feature maps of the same images; channels and sizes may differ.

    Args:
        student: Feature map (N, C_s, H_s, W_s).
        teacher: Feature map (N, C_t, H_t, W_t).

    Raises:
        ValueError: If either is not 4-D or empty, or if N differs.
    """
    check_feature_map(student, "student")
    check_feature_map(teacher, "teacher")
    check_same_batch(student, teacher)


def check_same_batch(student: Tensor, teacher: Tensor) -> None:
    """Require the same number of samples on both sides.

    Args:
        student: Tensor (N, ...) with at least two axes.
        teacher: Tensor (N, ...) with at least two axes.

    Raises:
        ValueError: If either has fewer than two axes or is empty, or if N differs.
    """
    for name, value in (("student", student), ("teacher", teacher)):
        if value.dim() < 2:
            raise ValueError(
                f"{name} must be a batch (N, D) or (N, C, H, W), but its shape is "
                f"{tuple(value.shape)}."
            )
        _check_filled(value, name)
    if student.shape[0] != teacher.shape[0]:
        raise ValueError(
            "student and teacher must hold the same N samples, but student is "
            f"{tuple(student.shape)} and teacher is {tuple(teacher.shape)}. "
            "Feed both networks the same batch."
        )


def check_same_channels(student: Tensor, teacher: Tensor) -> None:
    """Require the same number of channels on both sides.

    Args:
        student: Tensor (N, C, ...).
        teacher: Tensor (N, C, ...).

    Raises:
        ValueError: If C differs.
    """
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            "student and teacher must have the same number of channels, but student is "
            f"{tuple(student.shape)} and teacher is {tuple(teacher.shape)}. "
            "Put a connector (kd_core.connectors) on the student."
        )


def check_logits(student: Tensor, teacher: Tensor) -> None:
    """Require two batches of class scores of the same shape.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).

    Raises:
        ValueError: If either is not 2-D or empty, or if the shapes differ.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            "student and teacher must be logits (N, classes) of the same shape, but student is "
            f"{tuple(student.shape)} and teacher is {tuple(teacher.shape)}. "
            "Both networks need the same classes in the same order."
        )
    _check_filled(student, "student")


def check_indices(name: str, indices: Tensor, count: int, limit: int | None = None) -> None:
    """Require one whole number from 0 on for each sample.

    Args:
        name: Their name in the message.
        indices: Labels or ids (N,).
        count: How many samples N there are.
        limit: All must be below it; ``None`` for no limit.

    Raises:
        ValueError: If they are not integers (N,), negative, or not below the limit.
    """
    whole = not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)
    if indices.shape != (count,) or not whole:
        raise ValueError(
            f"{name} must be one whole number for each of the {count} samples, but they are "
            f"{indices.dtype} of shape {tuple(indices.shape)}."
        )
    lowest, highest = torch.stack(indices.aminmax()).tolist()  # one wait for the GPU
    if lowest < 0 or (limit is not None and highest >= limit):
        below = "" if limit is None else f" and below {limit}"
        raise ValueError(
            f"{name} must be at least 0{below}, but they go from {lowest} to {highest}."
        )


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """Require that an option is one of the known ones.

    Args:
        name: Name of the option.
        value: Value that was given.
        allowed: The known values.

    Raises:
        ValueError: If the value is not among them.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {sorted(allowed)}, but it is {value!r}.")


def paired_levels(
    student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Pair the levels of student and teacher.

    Args:
        student: A tensor, or one tensor for each level.
        teacher: A tensor, or one tensor for each level.

    Returns:
        One pair for each level.

    Raises:
        ValueError: If the numbers of levels differ, or if there is none.
    """
    student_levels, teacher_levels = levels_of(student), levels_of(teacher)
    if len(student_levels) != len(teacher_levels) or not student_levels:
        raise ValueError(
            "student and teacher must have the same number of levels, at least one, but student "
            f"has {len(student_levels)} and teacher has {len(teacher_levels)}."
        )
    return list(zip(student_levels, teacher_levels, strict=True))


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Switch autocast off, so that products of matrices stay in float32.

    Args:
        tensor: Any tensor on the device in question.

    Returns:
        A context manager.
    """
    return torch.autocast(device_type=tensor.device.type, enabled=False)


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the precision of a module's parameters, float32 if it has none."""
    return next((one.dtype for one in module.parameters()), torch.float32)


def _check_number(name: str, value: object) -> None:
    if not hasattr(value, "__float__"):
        raise ValueError(f"{name} must be a number, but it is {value!r}.")


def _check_filled(value: Tensor, name: str) -> None:
    if value.numel() == 0:
        raise ValueError(f"{name} must not be empty, but its shape is {tuple(value.shape)}.")
