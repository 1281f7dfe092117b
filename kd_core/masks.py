"""Masks of feature maps: a loss compares what boxes, scores or attention point at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.box_masks import covered_cells
from kd_core.checks import check_choice, check_positive
from kd_core.layers import Features, levels_of

MASKS = ("boxes", "scores", "attention")
Roots = list[tuple[Tensor, Tensor]]  # of each level, for student and teacher
SCORES = "scores of the mask"  # the teacher's features of a term, besides its roles


@dataclass(frozen=True)
class MapMask:
    """Mask M of both sides of a term, its ``mask``: the loss gets sqrt(M) F instead of F.

        boxes:      1 in cells that a box of the ground truth covers, in part or as a whole; else 0
        scores:     the largest sigmoid of the teacher's class scores at the position
        attention:  softmax over positions of mean over the channels of |T| / temperature, of each
                    image, as in FGD

    M is divided by its mean over N, H and W, so that a mean of squares over all entries becomes one
    over those in the mask. Each level has its own; no gradient flows into it. Where nothing in the
    whole batch is masked in, the loss is 0. Sizes: boxes are scaled by the padded input; scores and
    attention are resized, bilinearly, to the student's map if that has another size.

    Args:
        kind: One of ``MASKS``.
        layers: The teacher's layers that give class scores, maps (N, C, H, W) before the sigmoid,
            for "scores": a selector or several. Each level of the term takes those of the size
            nearest to its own.
        temperature: Divisor of "attention", above 0.

    Raises:
        ValueError: If the kind is unknown, layers are given to another kind, or the temperature is
            not above 0.
    """

    kind: str
    layers: str | Sequence[str] | None = None
    temperature: float = 0.5

    def __post_init__(self) -> None:
        check_choice("mask", self.kind, MASKS)
        check_positive(temperature=self.temperature)
        if self.layers is not None and self.kind != "scores":
            raise ValueError(
                f"only the mask 'scores' has layers, but {self.kind!r} got {self.layers!r}."
            )

    @property
    def requires(self) -> tuple[str, ...]:
        """Return the inputs that it requires besides features."""
        return ("boxes", "image_size") if self.kind == "boxes" else ()

    def roots(
        self, student: Features, teacher: Features, inputs: Mapping[str, Any], scores: Features
    ) -> Roots:
        """Return the roots of the masks of each level, for both sides.

        Args:
            student: Feature map (N, C_s, H_s, W_s), or a list of them.
            teacher: Feature map (N, C_t, H_t, W_t), or a list of as many.
            inputs: The ``boxes`` and the ``image_size``, where it requires them.
            scores: Class scores (N, C, H, W) of the teacher, or a list of them; empty without.

        Returns:
            For each level (N, 1, H_s, W_s) and (N, 1, H_t, W_t), float32.

        Raises:
            ValueError: If a level, or the scores, are no maps, or scores are missing.
        """
        if self.kind == "scores" and not levels_of(scores):
            raise ValueError(
                "the mask 'scores' needs the teacher's layers of class scores before a sigmoid, as "
                "in mask=dict(kind='scores', layers='rpn_head[0]'). A softmax with a background "
                "has none."
            )
        found = []
        for one, other in zip(levels_of(student), levels_of(teacher), strict=True):
            _check_maps(one, other, *levels_of(scores))
            mask = own = self._mask(other, inputs, levels_of(scores))  # (N, H_t, W_t)
            if one.shape[2:] != other.shape[2:]:
                own = self._resized(mask, one, inputs)
            found.append((_root(own), _root(mask)))
        return found

    @torch.no_grad()
    def _mask(self, teacher: Tensor, inputs: Mapping[str, Any], scores: list[Tensor]) -> Tensor:
        if self.kind == "boxes":
            return covered_cells(inputs["boxes"], inputs["image_size"], teacher)
        if self.kind == "attention":
            strength = teacher.float().abs().mean(dim=1).flatten(start_dim=1) / self.temperature
            places: Tensor = strength.softmax(dim=1)
            return places.reshape(-1, *teacher.shape[2:])
        nearest = min(scores, key=lambda one: _apart(one, teacher))
        best = nearest.float().amax(dim=1, keepdim=True).sigmoid()  # (N, 1, H, W)
        return _resize(best, teacher.shape[2:]).squeeze(1)

    def _resized(self, mask: Tensor, student: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        if self.kind == "boxes":
            return self._mask(student, inputs, [])
        return _resize(mask.unsqueeze(1), student.shape[2:]).squeeze(1)


def masked(features: Mapping[str, Features], roots: Mapping[str, Roots], side: int) -> Any:
    """Multiply the features of one side with the roots of their masks.

    Args:
        features: Role to feature map (N, C, H, W) or list of them.
        roots: Role to the roots of :meth:`MapMask.roots`; other roles stay as they are.
        side: 0 of the student, 1 of the teacher.
    """
    found = dict(features)
    for role in found.keys() & roots.keys():
        pairs = zip(levels_of(found[role]), roots[role], strict=True)
        levels = [one.float() * both[side] for one, both in pairs]
        found[role] = levels if isinstance(found[role], list) else levels[0]
    return found


def is_filled(roots: Mapping[str, Roots]) -> Tensor:
    """Return whether any mask of a term lets anything through."""
    return torch.stack([root.any() for of in roots.values() for pair in of for root in pair]).any()


def mask_of(mask: Any) -> MapMask | None:
    """Return a mask by its name, from a mapping of its options, or as it is.

    Raises:
        ValueError: If there is no such mask.
        TypeError: If there is no such option.
    """
    if mask is None or isinstance(mask, MapMask):
        return mask
    return MapMask(**mask) if isinstance(mask, Mapping) else MapMask(mask)


def _root(mask: Tensor) -> Tensor:
    """Return the root of a mask (N, H, W) of mean 1, as (N, 1, H, W); 0 of an empty one."""
    smallest = torch.finfo(torch.float32).tiny
    return (mask / mask.mean().clamp(min=smallest)).sqrt().unsqueeze(1)


def _resize(mask: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(mask.shape[2:]) == tuple(size):
        return mask
    return F.interpolate(mask, tuple(size), mode="bilinear", align_corners=False)


def _apart(one: Tensor, other: Tensor) -> float:
    """Return how far apart the sizes of two maps are, in octaves."""
    sizes = zip(one.shape[2:], other.shape[2:], strict=True)
    return sum(abs(math.log2(a / b)) for a, b in sizes)


def _check_maps(student: Tensor, teacher: Tensor, *scores: Tensor) -> None:
    if any(one.dim() != 4 for one in (student, teacher, *scores)):
        shapes = ", ".join(str(tuple(one.shape)) for one in scores)
        raise ValueError(
            f"a mask takes maps (N, C, H, W), but student is {tuple(student.shape)} and teacher is "
            f"{tuple(teacher.shape)}{f' and its scores are {shapes}' if scores else ''}. Select "
            "other layers, or leave mask out."
        )
