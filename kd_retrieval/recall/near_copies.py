"""Near copies: queries without ids that are in the gallery too, nearly but not exactly equal.

The same image embedded in half precision, or in a batch of another size, differs in the last
digits. Exact comparison does not catch it, and every query then finds itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from kd_retrieval.recall.grid import Rows
from kd_retrieval.recall.inputs import RecallInput
from kd_retrieval.recall.ranks import warn

NEAR = 0.999  # cosine above which a positive may be the query itself
_APART = 10.0  # times as far from the query is the next positive, at least
_MOST = 0.5  # share of the queries
_SAMPLE = 256  # queries that are looked at
_CHUNK = 1024  # rows that are converted to float64 at once
_EXACT = 1e-10  # values of 1 - cosine that float64 cannot distinguish from 0


def copies_note(given: RecallInput, best: Tensor | None = None) -> str:
    """Return and log a note if most queries seem to be in the gallery, otherwise return "".

    Up to 256 queries are compared with rows of their own class, only where ``best`` allows a copy;
    so there is no cost on ordinary data and a small one otherwise. A query counts if its nearest
    positive has a cosine above 0.999 and the next one is ten times as far from 1: a class whose
    images all lie close together gives no note.

    Args:
        given: Queries and gallery; where ids were given, the answer is "".
        best: Exact similarity of each query's best positive, float64 (N,), -inf without one; None
            where it is not known.
    """
    if given.has_ids:
        return ""
    if best is None:
        asked, share = torch.arange(len(given.queries), device=given.itself.device), 1.0
    else:
        valid = best > -torch.inf
        possible = valid & (best >= _bound(given.queries, given.metric))
        asked, share = possible.nonzero()[:, 0], float(possible.sum()) / max(1, int(valid.sum()))
    if share <= _MOST or not len(asked):
        return ""
    places = torch.linspace(0, len(asked) - 1, min(_SAMPLE, len(asked)), dtype=torch.float64)
    nearest = _two_nearest(given, asked[places.round().long().to(asked.device)])
    nearest = nearest[nearest[:, 0] > -torch.inf]
    distance = (1 - nearest).clamp(min=_EXACT)
    copies = (nearest[:, 0] > NEAR) & (distance[:, 0] * _APART < distance[:, 1])
    share *= int(copies.sum()) / max(1, len(copies))
    if share <= _MOST:
        return ""
    note = (
        f"{100 * share:.0f} % of the queries have one row of their class in the gallery at a "
        f"cosine above {NEAR} and no other near it. These seem to be the queries themselves, "
        "embedded a second time: then this number says nothing. Give query_ids and gallery_ids, "
        "by which a query is left out of its own search"
    )
    warn(note)
    return note


def _bound(queries: Rows, metric: str) -> Tensor | float:
    """Return the least similarity (N,) of a copy with a cosine of 0.999, or slightly less."""
    if metric == "cosine":
        return NEAR
    squares = torch.cat([_square_norms(queries, part) for part in _parts(len(queries))])
    return squares * (2 * NEAR - 1 if metric == "dot" else -2.1 * (1 - NEAR))


def _two_nearest(given: RecallInput, asked: Tensor) -> Tensor:
    """Return cosines of the two nearest positives of some queries (Q, 2); -inf for none."""
    found = torch.full((len(asked), 2), -torch.inf, dtype=torch.float64, device=asked.device)
    ranges = [given.labels.columns_of(slice(row, row + 1)) for row in asked.tolist()]
    for span in sorted(set(ranges)):
        chosen = torch.tensor([one == span for one in ranges], device=asked.device).nonzero()[:, 0]
        rows = asked[chosen]
        left = _directions(given.queries, rows)
        for part in _parts(span[1] - span[0]):
            columns = torch.arange(span[0] + part.start, span[0] + part.stop, device=asked.device)
            tile = left @ _directions(given.gallery, columns).T
            pairs = (one.flatten() for one in torch.broadcast_tensors(rows[:, None], columns))
            tile[~given.labels.same_pairs(*pairs).view_as(tile)] = -torch.inf
            found[chosen] = torch.cat([found[chosen], tile], dim=1).topk(2).values
    return found


def _parts(count: int) -> Iterator[slice]:
    return (slice(i, min(i + _CHUNK, count)) for i in range(0, count, _CHUNK))


def _directions(rows: Rows, chosen: Tensor) -> Tensor:
    vectors = rows.at(chosen, torch.float64)
    lengths = vectors.norm(dim=1, keepdim=True)
    directions: Tensor = vectors / lengths.clamp(min=torch.finfo(torch.float64).tiny)
    return directions


def _square_norms(rows: Rows, chosen: slice) -> Tensor:
    squares: Tensor = rows.at(chosen, torch.float64).square().sum(dim=1)
    return squares
