"""Shares of several teachers in each sample of a term: the larger, the surer a teacher is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checks import check_choice
from kd_core.layers import levels_of
from kd_core.masks import SCORES

SHARES = "shares"  # name of the input of a loss
KINDS = ("confidence", "entropy")


class TeacherShares:
    """How the terms of several teachers share each sample; those of one group have the same object.

        share of teacher k in sample n = (1 - softmax over k of d_kn) / (K - 1), and 1 where K = 1
        "confidence": d the cross-entropy of the label; "entropy": the entropy of the scores

    A sample is what the loss compares: an image, a region of a ROI head, an anchor. Shares sum to 1
    over teachers, so equal teachers are one. The loss must take ``shares`` and have ``doubts``,
    which gives d of the scores that it compares, before ``normalize``, or of those that ``layers``
    name: a loss of box offsets has ``scores_apart`` and needs these.

    Weights of Zhang, Chen and Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP
    2022, https://arxiv.org/abs/2201.00007, for classifiers. Status: the formula of the authors'
    code; entropy, regions and anchors are ours.

    Args:
        kind: "confidence" or "entropy".
        layers: The teachers' layer of class scores of the same samples; ``None`` for what the term
            compares.

    Raises:
        ValueError: If there is no such kind.
    """

    def __init__(self, kind: str, layers: str | None = None) -> None:
        check_choice("weighting", kind, KINDS)
        self.kind, self.layers = kind, layers

    @property
    def requires(self) -> tuple[str, ...]:
        """Return the inputs that it requires besides the layers."""
        return ("labels",) if self.kind == "confidence" else ()

    def require(self, loss: nn.Module, mask: Any = None) -> None:
        """Require a loss of samples that can be weighted, and scores to weigh them by.

        Raises:
            ValueError: If it is not one, has no scores, or has roles or a mask besides ``layers``.
        """
        if SHARES not in getattr(loss, "takes", ()) or not hasattr(loss, "doubts"):
            raise ValueError(
                f"weighting={self.kind!r} weighs each sample, but {type(loss).__name__} takes no "
                "weights of samples. Give teacher=[...] or teacher=dict(name=number, ...) without "
                "weighting, or take a loss of class scores, such as SoftTargetLoss."
            )
        if self.layers is None and getattr(loss, "scores_apart", False):
            raise ValueError(
                f"weighting={self.kind!r} weighs by class scores, but {type(loss).__name__} "
                "compares none. Name them: weighting=dict(kind=..., "
                "layers='roi_head.bbox_head[0]')."
            )
        if self.layers is not None and (mask is not None or hasattr(loss, "roles")):
            raise ValueError(
                "a weighting has layers where a term has no mask and its loss no roles, but "
                f"{type(loss).__name__} {'has roles' if mask is None else 'gets a mask'}. Leave "
                "the layers of the weighting, or the mask, out."
            )


def share_samples(
    terms: Mapping[str, Any],
    teacher: Mapping[str, Mapping[str, Any]],
    inputs: Mapping[str, dict[str, Any]],
) -> dict[str, Tensor]:
    """Give the losses of several teachers their shares (R,) in the samples of a batch.

    Args:
        terms: Name to term.
        teacher: Term, then role, to what its teacher gave.
        inputs: Term to the inputs of its loss, where the shares are added.

    Returns:
        ``weight_<term>`` to the mean of its shares, for the log; nothing of other terms.

    Raises:
        ValueError: If scores of one sample come from several layers, which are compared one by one.
    """
    groups: dict[TeacherShares, list[str]] = {}
    for name, term in terms.items():
        if term.shares is not None:
            groups.setdefault(term.shares, []).append(name)
    means: dict[str, Tensor] = {}
    for group, names in groups.items():
        doubts = [
            _doubts(name, terms[name].loss, teacher[name], inputs[name].get("labels"), group)
            for name in names
        ]
        for name, shares in zip(names, confidence_weights(torch.stack(doubts)), strict=True):
            inputs[name][SHARES] = shares
            means[f"weight_{name}"] = shares.sum() / max(len(shares), 1)
    return means


def confidence_weights(doubts: Tensor) -> Tensor:
    """Return weights that sum to 1 over teachers, larger where a teacher doubts less.

        w_kn = (1 - softmax over k of doubts_kn) / (K - 1), and 1 where K = 1

    Args:
        doubts: Cross-entropy or entropy (K, N).

    Returns:
        Weights (K, N).

    Example:
        >>> confidence_weights(torch.tensor([[0.0], [0.0]])).tolist()
        [[0.5], [0.5]]
    """
    count = len(doubts)
    return torch.ones_like(doubts) if count == 1 else (1 - doubts.softmax(0)) / (count - 1)


def _doubts(
    term: str, loss: Any, teacher: Mapping[str, Any], labels: Any, group: TeacherShares
) -> Tensor:
    side: Any = teacher if hasattr(loss, "roles") else teacher[""]
    if group.layers is not None:
        side = teacher[SCORES]
    if not hasattr(loss, "roles") and not getattr(loss, "accepts_lists", False):
        side, *others = levels_of(side)
        if others:
            raise ValueError(
                f"weighting={group.kind!r} of term {term!r} weighs the samples of one layer, but "
                f"there are {1 + len(others)}. Write a term for each layer."
            )
    doubts: Tensor = loss.doubts(side, labels if group.kind == "confidence" else None)
    return doubts
