"""Inputs of recall_at_k: checked and brought into one form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_retrieval.recall.block_rows import BlockRows
from kd_retrieval.recall.grid import METRICS, Rows, exponent_of, grid_rows
from kd_retrieval.recall.labels import ClassLabels, LabelSets, is_sets, label_tables

_CHUNK = 4096
_IN_BLOCKS = ("cuda",)  # devices whose memory is short, and which make rows in no time
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
             torch.uint64, torch.uint32, torch.uint16)  # fmt: skip


@dataclass
class RecallInput:
    """Queries and gallery, sorted by label.

    Attributes:
        queries: Rows of the queries.
        gallery: Rows of the gallery.
        labels: Labels, by which rows are positives of one another.
        itself: Row of the gallery that is the query itself, int64 (N,); -1 for none.
        order: Where each sorted query stood before, int64 (N,).
        symmetric: Queries and gallery are the same rows.
        ks: The K, as given.
        exponent: Exponent of the power of 2 that divided the rows of both sides; 0 under cosine.
        metric: ``cosine``, ``l2`` or ``dot``.
        has_ids: Whether a query is recognized in the gallery: by its id, or as both are the same.
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


def prepare(
    queries: Any,
    query_labels: Any,
    gallery: Any = None,
    gallery_labels: Any = None,
    *,
    ks: Sequence[int],
    query_ids: Any = None,
    gallery_ids: Any = None,
    metric: str = "cosine",
    in_blocks: bool = False,
) -> RecallInput:
    """Check and sort; see :func:`kd_retrieval.recall_at_k` for the arguments and errors.

    With ``in_blocks`` a GPU holds some of the rows at a time (``BlockRows``), and not all.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, but it is {metric!r}.")
    symmetric = gallery is None
    if symmetric and (gallery_labels is not None or gallery_ids is not None):
        raise ValueError("gallery_labels and gallery_ids need a gallery, but there is none.")
    queries = _embeddings(queries, "queries", metric)
    gallery = queries if symmetric else _embeddings(gallery, "gallery", metric)
    _require_comparable(queries, gallery)
    query_labels, gallery_labels, kind = _labels(query_labels, gallery_labels, symmetric)
    _require_one_each(query_labels, queries, "queries")
    _require_one_each(gallery_labels, gallery, "gallery")
    query_order, gallery_order = (
        _order(labels).to(queries.device) for labels in (query_labels, gallery_labels)
    )
    exponent = 0 if metric == "cosine" else exponent_of(queries, gallery)
    make = BlockRows if in_blocks and queries.device.type in _IN_BLOCKS else grid_rows
    query_rows = make(queries, query_order, metric, exponent)
    gallery_rows = query_rows
    if not symmetric:
        gallery_rows = make(gallery, gallery_order, metric, exponent)
    query_ids = _ids(query_ids, len(queries), "query_ids")
    gallery_ids = query_ids if symmetric else _ids(gallery_ids, len(gallery), "gallery_ids")
    has_ids = symmetric or not (query_ids is None or gallery_ids is None)
    if symmetric:
        itself = torch.arange(len(queries), device=queries.device)
    elif has_ids:
        itself = _sorted(_same_id(query_ids, gallery_ids), query_order, gallery_order)
    else:
        _require_no_overlap(query_rows, gallery_rows, query_order)
        itself = torch.full_like(query_order, -1)
    sorted_query_labels = query_labels.to(queries.device)[query_order]
    sorted_gallery_labels = sorted_query_labels
    if not symmetric:
        sorted_gallery_labels = gallery_labels.to(queries.device)[gallery_order]
    return RecallInput(
        queries=query_rows,
        gallery=gallery_rows,
        labels=kind(sorted_query_labels, sorted_gallery_labels),
        itself=itself,
        order=query_order,
        symmetric=symmetric,
        ks=_ks(ks),
        exponent=exponent,
        metric=metric,
        has_ids=has_ids,
    )


def _ks(ks: Sequence[int]) -> tuple[int, ...]:
    values = tuple(ks)
    if not values or any(int(k) != k or k < 1 for k in values):
        raise ValueError(f"ks must be whole numbers from 1, but they are {values}.")
    return tuple(int(k) for k in values)


def _embeddings(given: Any, name: str, metric: str) -> Tensor:
    with warnings.catch_warnings():  # of a file opened to read: nothing is written to it here
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        embeddings = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    if embeddings.dim() != 2 or not embeddings.is_floating_point() or 0 in embeddings.shape:
        raise ValueError(
            f"{name} must be embeddings (N, D) of a floating type, at least one, but they are "
            f"{embeddings.dtype} {tuple(embeddings.shape)}."
        )
    embeddings = embeddings.detach()
    if embeddings.device.type == "mps":  # which has no float64
        embeddings = embeddings.cpu()
    for begin in range(0, len(embeddings), _CHUNK):
        part = embeddings[begin : begin + _CHUNK]
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
    return embeddings


def _require_comparable(queries: Tensor, gallery: Tensor) -> None:
    if queries.shape[1] != gallery.shape[1] or queries.device != gallery.device:
        raise ValueError(
            "queries and gallery must have one size and device, but they are "
            f"{tuple(queries.shape)} on {queries.device} and {tuple(gallery.shape)} on "
            f"{gallery.device}."
        )


def _labels(
    query_labels: Any, gallery_labels: Any, symmetric: bool
) -> tuple[Tensor, Tensor, type[ClassLabels] | type[LabelSets]]:
    if not symmetric and gallery_labels is None:
        raise ValueError("a gallery needs gallery_labels, but there are none.")
    given = [query_labels] if symmetric else [query_labels, gallery_labels]
    if any([is_sets(labels) for labels in given]):
        tables = label_tables(*given)
        return tables[0], tables[-1], LabelSets
    classes = [_integers(labels, "labels") for labels in given]
    return classes[0], classes[-1], ClassLabels


def _require_one_each(labels: Tensor, embeddings: Tensor, name: str) -> None:
    if len(labels) != len(embeddings):
        raise ValueError(
            f"each embedding needs its label, but the {name} have {len(embeddings):,} embeddings "
            f"and {len(labels):,} labels."
        )


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


def _same_id(query_ids: Tensor, gallery_ids: Tensor) -> Tensor:
    """Return for each query the row of the gallery with its id; -1 for none."""
    by_id = torch.argsort(gallery_ids)
    found = torch.searchsorted(gallery_ids[by_id], query_ids.contiguous())
    candidates = by_id[found.clamp(max=len(by_id) - 1)]
    return torch.where(gallery_ids[candidates] == query_ids, candidates, -1)


def _sorted(rows: Tensor, query_order: Tensor, gallery_order: Tensor) -> Tensor:
    """Turn each query's row of the gallery into that of the sorted query and gallery."""
    rows = rows.to(query_order.device)[query_order]
    place = torch.empty_like(gallery_order)  # of a row of the gallery, after it is sorted
    place[gallery_order] = torch.arange(len(gallery_order), device=gallery_order.device)
    return torch.where(rows >= 0, place[rows], -1)


def _require_no_overlap(queries: Rows, gallery: Rows, query_order: Tensor) -> None:
    """Without ids, an equal row in queries and gallery may be the query itself."""
    generator = torch.Generator().manual_seed(0)
    key = torch.randint(-(2**62), 2**62, (queries.size,), generator=generator)
    key = key.to(query_order.device)
    equal = torch.isin(_hashes(queries, key), _hashes(gallery, key))
    if bool(equal.any()):
        raise ValueError(
            "queries that are in the gallery must be excluded by id, but there are no ids, and "
            f"{int(equal.sum()):,} queries, such as row {int(query_order[equal].min())}, have an "
            "equal row in the gallery. Give query_ids and gallery_ids."
        )


def _hashes(rows: Rows, key: Tensor) -> Tensor:
    parts = (slice(i, min(i + _CHUNK, len(rows))) for i in range(0, len(rows), _CHUNK))
    return torch.cat([(rows.steps_at(part) * key).sum(dim=1) for part in parts])
