"""A GPU that runs out of memory: tiles are halved, and the result stays the same."""

from unittest import mock

import pytest
import torch

from kd_retrieval import recall_at_k
from kd_retrieval.recall.count import RankCounter
from kd_retrieval.recall.inputs import prepare
from kd_retrieval.recall.similarity import Similarity

KS = (1, 3, 10)


def memory_for(cells, only=None):
    """Let tiles of more cells fail as they do on a GPU: all, or those of one type."""
    tile = Similarity.tile

    def tried(self, rows, columns, dtype, room=None):
        found = tile(self, rows, columns, dtype)
        if found.numel() > cells and only in (None, dtype):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 134 MiB")
        return found

    return mock.patch.object(Similarity, "tile", tried)


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(80, (700,), generator=generator)
    rows = torch.randn(80, 8, generator=generator)[labels]
    rows += torch.randn(700, 8, generator=generator)
    rows[::9] = rows[0]  # ties, so that there is something to count again
    return rows, labels


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("only", [None, torch.float32, torch.float64])
def test_the_result_is_the_same_and_it_says_so(embeddings, only, half, caplog, monkeypatch):
    monkeypatch.setattr("kd_retrieval.recall.grid.has_fast_bfloat16", lambda device: half)
    expected = recall_at_k(*embeddings, ks=KS)
    assert "out of GPU memory" not in caplog.text
    with memory_for(128 * 200, only):
        found = recall_at_k(*embeddings, ks=KS)
    assert found.recall == expected.recall and found.optimistic == expected.optimistic
    assert torch.equal(found.found_at, expected.found_at)
    assert "recall ran out of GPU memory with tiles of 1,024 rows and columns" in caplog.text
    assert "it continues with 512" in caplog.text


def test_too_little_memory_for_the_smallest_is_the_error(embeddings):
    with memory_for(10), pytest.raises(torch.cuda.OutOfMemoryError, match="134 MiB"):
        recall_at_k(*embeddings, ks=KS)


def test_the_shares_of_ranks_stay_those_of_whole_tiles(embeddings):
    rows, labels = embeddings

    def counter():
        given = prepare(rows, labels, ks=(700,))  # so that no query has enough before the end
        similarity = Similarity(given.queries, given.gallery)
        return RankCounter(similarity, given.labels, given.itself, True, (700,), tile=256)

    whole = counter()
    best = whole.best_positives()
    others, everything = [whole.recount(best, torch.arange(700), rank, 2) for rank in (0, 1)]
    with memory_for(256 * 100):
        found = counter().recount(best, torch.arange(700), 1, 2)
        survey = counter().survey(best, 1, 2)
    assert torch.equal(found.above, everything.above) and torch.equal(found.ties, everything.ties)
    above, reach = (sum(parts) for parts in zip(
        *((one.above, one.above + one.ties) for one in (whole.survey(best, 0, 2), survey)),
        strict=True,
    ))  # fmt: skip
    has = best > -torch.inf
    exact = others.above + everything.above
    assert (above[has] <= exact[has]).all() and (reach[has] > exact[has]).all()
    assert (reach - above)[has].float().mean() < 30
