"""Pairs of heads: whether the outputs of two heads mean the same, where a term compares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from kd_core import Term
from kd_core.layers import LayerPath

_DENSE = ("bbox_head", "rpn_head")
_BOXES = 1  # place of the boxes in what a head returns


def require_alike_heads(student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]) -> None:
    """Require the same anchors and box coder of two heads whose outputs are compared.

    Args:
        student: The student.
        teacher: The teacher.
        terms: Name to each term that compares the two.

    Raises:
        ValueError: If the anchors or box coders differ, or boxes have other units in training.
    """
    for name, path in _outputs(terms):
        own, other = (_head(model, path.module) for model in (student, teacher))
        if own is None or other is None:
            continue
        what = f"term {name!r} compares {path.text}"
        if path.module in _DENSE:
            _require_same(what, "anchors", _anchors(own), _anchors(other))
        if _selects_boxes(path):
            _require_same(what, "the box coder", _coder(own), _coder(other))
            if getattr(other, "norm_on_bbox", False):
                raise ValueError(
                    f"{what}, which {type(other).__name__} with norm_on_bbox gives in strides in "
                    "training and in pixels otherwise. Select the layers before, "
                    f"{path.module}.scales.0, {path.module}.scales.1 and so on."
                )


def _outputs(terms: Mapping[str, Term]) -> Iterator[tuple[str, LayerPath]]:
    """Yield each output of a head that a term reads of both sides, with the term's name."""
    for name, term in terms.items():
        for role, paths in term.student_layers.items():
            others = {path.text for path in term.teacher_layers[role]}
            for path in paths:
                of_head = path.module in _DENSE or path.module.startswith("roi_head.bbox_head")
                if of_head and path.text in others:
                    yield name, path


def _head(model: nn.Module, path: str) -> Any:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None  # it is named when the distiller is attached


def _selects_boxes(path: LayerPath) -> bool:
    return not path.keys or path.keys[0] == _BOXES


def _anchors(head: Any) -> Any:
    generator = getattr(head, "prior_generator", None)
    return (
        None
        if generator is None
        else (
            type(generator).__name__,
            [tuple(stride) for stride in generator.strides],
            [torch.as_tensor(one).tolist() for one in getattr(generator, "base_anchors", ())],
        )
    )


def _coder(head: Any) -> Any:
    coder = getattr(head, "bbox_coder", None)
    return (
        None
        if coder is None
        else (
            type(coder).__name__,
            *(tuple(getattr(coder, name, ())) for name in ("means", "stds")),
            *((head.reg_class_agnostic,) if hasattr(head, "reg_class_agnostic") else ()),
        )
    )


def _require_same(what: str, kind: str, student: Any, teacher: Any) -> None:
    if student != teacher:
        raise ValueError(
            f"{what}, so {kind} of both heads must be the same, but the student has {student} and "
            f"the teacher {teacher}. Give both heads the same, or compare features."
        )
