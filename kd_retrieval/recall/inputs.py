"""Check what recall_at_k is given, and bring it into one form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_retrieval.recall.labels import ClassLabels, LabelSets, is_sets, table_of
from kd_retrieval.recall.similarity import METRICS, Rows, exponent_of, grid_rows

_CHUNK = 4096
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
             torch.uint64, torch.uint32, torch.uint16)  # fmt: skip
Side = tuple[Any, Any, Any]  # embeddings, labels, ids


@dataclass
class RecallInput:
    """Queries and gallery, sorted by label.

    Attributes:
        queries: Rows of the queries.
        gallery: Rows of the gallery.
        labels: Who is a positive of whom.
        itself: Row of the gallery that is the query itself, int64 (N,); -1 for none.
        order: Where each sorted query stood before, int64 (N,).
        symmetric: Queries and gallery are the same rows.
        ks: The K, as given.
        exponent: Of the power of 2 by which the rows of both sides were divided; 0 under cosine.
        metric: ``cosine``, ``l2`` or ``dot``.
        has_ids: Whether a query is known in the gallery: by its id, or as it is the gallery.
    """

    queries: Rows
    gallery: Rows
    labels: ClassLabels | LabelSets
    itself: Tensor
    order: Tensor
    symmetric: bool
    ks: tuple[int, ...]
    exponent: int
    metric: str
    has_ids: bool


def prepare(query_side: Side, gallery_side: Side, ks: Sequence[int], metric: str) -> RecallInput:
    """Check and sort; see :func:`kd_retrieval.recall_at_k` for the arguments and errors."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, but it is {metric!r}.")
    symmetric = gallery_side[0] is None
    if symmetric and (gallery_side[1] is not None or gallery_side[2] is not None):
        raise ValueError("gallery_labels and gallery_ids need a gallery, but there is none.")
    queries = _vectors(query_side[0], "queries", metric)
    gallery = queries if symmetric else _vectors(gallery_side[0], "gallery", metric)
    if queries.shape[1] != gallery.shape[1] or queries.device != gallery.device:
        raise ValueError(
            "queries and gallery must have one size and device, but they are "
            f"{tuple(queries.shape)} on {queries.device} and {tuple(gallery.shape)} on "
            f"{gallery.device}."
        )
    kind, sides = _labels(query_side[1], gallery_side[1], queries, gallery, symmetric)
    first, second = (_order(side).to(queries.device) for side in sides)
    ids = [_ids(query_side[2], len(queries), "query_ids")]
    ids.append(ids[0] if symmetric else _ids(gallery_side[2], len(gallery), "gallery_ids"))
    exponent = 0 if metric == "cosine" else exponent_of(queries, gallery)
    rows = grid_rows(queries, first, metric, exponent)
    others = rows if symmetric else grid_rows(gallery, second, metric, exponent)
    place = torch.empty_like(second)  # of a row of the gallery, after it is sorted
    place[second] = torch.arange(len(second), device=second.device)
    has_ids = True
    if symmetric:
        itself = place[first]
    elif ids[0] is None or ids[1] is None:
        has_ids = False
        _require_no_overlap(rows, others, first)
        itself = torch.full_like(first, -1)
    else:
        found = _same_id(ids[0], ids[1]).to(first.device)[first]
        itself = torch.where(found >= 0, place[found], -1)
    queried = sides[0].to(queries.device)[first]
    searched = queried if symmetric else sides[1].to(queries.device)[second]
    sorted_labels = kind(queried, searched)
    return RecallInput(
        rows, others, sorted_labels, itself, first, symmetric, _ks(ks), exponent, metric, has_ids
    )


def _ks(ks: Sequence[int]) -> tuple[int, ...]:
    values = tuple(ks)
    if not values or any(int(k) != k or k < 1 for k in values):
        raise ValueError(f"ks must be whole numbers from 1, but they are {values}.")
    return tuple(int(k) for k in values)


def _vectors(given: Any, name: str, metric: str) -> Tensor:
    with warnings.catch_warnings():  # of a file opened to read: nothing is written to it here
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        vectors = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    if vectors.dim() != 2 or not vectors.is_floating_point() or 0 in vectors.shape:
        raise ValueError(
            f"{name} must be embeddings (N, D) of a floating type, at least one, but they are "
            f"{vectors.dtype} {tuple(vectors.shape)}."
        )
    vectors = vectors.detach()
    if vectors.device.type == "mps":  # which has no float64
        vectors = vectors.cpu()
    for begin in range(0, len(vectors), _CHUNK):
        part = vectors[begin : begin + _CHUNK]
        bad = ~torch.isfinite(part).all(dim=1)
        if bool(bad.any()):
            row = begin + int(bad.nonzero()[0])
            raise ValueError(
                f"embeddings must be finite, but row {row} of the {name} has NaN or Inf "
                f"({int(bad.sum())} of rows {begin} to {begin + len(part) - 1}). The training "
                "diverged, or the file is damaged."
            )
        if metric == "cosine" and bool((zero := (part == 0).all(dim=1)).any()):
            raise ValueError(
                f"a zero vector has no direction, but row {begin + int(zero.nonzero()[0])} of the "
                f"{name} is one. Leave it out, or use metric='l2'."
            )
    return vectors


def _labels(
    first: Any, second: Any, queries: Tensor, gallery: Tensor, symmetric: bool
) -> tuple[type[ClassLabels] | type[LabelSets], list[Tensor]]:
    if not symmetric and second is None:
        raise ValueError("a gallery needs gallery_labels, but there are none.")
    given = [first] if symmetric else [first, second]
    several = any([is_sets(one) for one in given])
    if several:
        sides = table_of(*given)
    else:
        sides = [_integers(one, "labels") for one in given]
    sides = sides * 2 if symmetric else sides
    for labels, vectors, name in zip(
        sides, (queries, gallery), ("queries", "gallery"), strict=True
    ):
        if len(labels) != len(vectors):
            raise ValueError(
                f"each embedding needs its label, but the {name} have {len(vectors):,} embeddings "
                f"and {len(labels):,} labels."
            )
    return (LabelSets if several else ClassLabels), sides


def _integers(given: Any, name: str) -> Tensor:
    try:
        values = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    except TypeError:  # torch holds neither text nor objects
        raise ValueError(
            f"{name} must be integers, but they are like {given[0]!r}. Number them first."
        ) from None
    if values.dtype not in _INTEGERS:
        raise ValueError(
            f"{name} must be integers, but they are {values.dtype}: as float32, 16,777,216 equals "
            "16,777,217. Convert them to int64."
        )
    if values.dim() != 1:
        raise ValueError(f"{name} must be (N,), but they are {tuple(values.shape)}.")
    return values.detach().to("cpu", torch.int64)


def _order(labels: Tensor) -> Tensor:
    if labels.dim() == 2:  # sets have no order
        return torch.arange(len(labels))
    return torch.argsort(labels, stable=True)


def _ids(given: Any, count: int, name: str) -> Tensor | None:
    if given is None:
        return None
    ids = _integers(given, name)
    if len(ids) != count:
        raise ValueError(f"{name} must be {count:,}, one each, but they are {tuple(ids.shape)}.")
    values, counts = ids.unique(return_counts=True)
    if len(values) < count:
        twice = values[counts > 1]
        raise ValueError(
            f"{name} must be unique, but {len(twice):,} come more than once, first "
            f"{int(twice[0])}. A distributed sampler's padding must be removed before."
        )
    return ids


def _same_id(first: Tensor, second: Tensor) -> Tensor:
    """Find for each id of the first its place in the second; -1 where it is not there."""
    order = torch.argsort(second)
    found = torch.searchsorted(second[order], first.contiguous()).clamp(max=len(order) - 1)
    candidates = order[found]
    return torch.where(second[candidates] == first, candidates, -1)


def _require_no_overlap(rows: Rows, others: Rows, order: Tensor) -> None:
    """Without ids, an equal row in queries and gallery may be the query itself."""
    generator = torch.Generator().manual_seed(0)
    size = rows.steps.shape[1]
    key = torch.randint(-(2**62), 2**62, (size,), generator=generator).to(order.device)
    first, second = (_hashes(one.steps, key) for one in (rows, others))
    equal = torch.isin(first, second)
    if bool(equal.any()):
        raise ValueError(
            "queries that are in the gallery must be excluded by id, but there are no ids, and "
            f"{int(equal.sum()):,} queries, such as row {int(order[equal].min())}, have an equal "
            "row in the gallery. Give query_ids and gallery_ids."
        )


def _hashes(steps: Tensor, key: Tensor) -> Tensor:
    chunks = range(0, len(steps), _CHUNK)
    return torch.cat([(steps[i : i + _CHUNK] * key).sum(dim=1) for i in chunks])
