import itertools
from unittest import mock

import pytest
import torch

from benchmarks.measure import peak_bytes
from kd_retrieval import recall_at_k
from kd_retrieval.recall.count import RankCounter
from kd_retrieval.recall.inputs import prepare
from kd_retrieval.recall.similarity import Similarity
from kd_retrieval.recall.tile_sums import reaches, row_sums

CPU = torch.device("cpu")


def counter_of(rows, labels, ks=(1, 3, 10), half=True, **options):
    with mock.patch("kd_retrieval.recall.grid.has_fast_bfloat16", lambda device: half):
        given = prepare(rows, labels, ks=ks)
    similarity = Similarity(given.queries, given.gallery)
    return RankCounter(similarity, given.labels, given.itself, True, ks, **options)


def clustered(count, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(count // 5, (count,), generator=generator)
    centers = torch.randn(count, size, generator=generator)
    return centers[labels] + torch.randn(count, size, generator=generator), labels


def true_counts(counter, best):
    """Negatives above and level with the best positive."""
    everything = slice(0, len(best))
    values = counter.similarity.tile(everything, everything, torch.float64)
    negative = ~counter.labels.same(everything, everything)
    above, ties = values > best[:, None], values == best[:, None]
    return (above & negative).sum(dim=1), (ties & negative).sum(dim=1)


@pytest.mark.parametrize("dense", [0, 64])
@pytest.mark.parametrize("half", [True, False])
def test_a_survey_holds_the_truth_between_its_counts_and_decides_most(half, dense, monkeypatch):
    monkeypatch.setattr("kd_retrieval.recall.count._DENSE", dense)
    rows, labels = clustered(700, 24)
    rows[::9] = rows[0]
    counter = counter_of(rows, labels, half=half, tile=64)
    best = counter.best_positives()
    counts = counter.survey(best)
    above, ties = true_counts(counter, best)
    asked = (best > -torch.inf) & (above < 10)  # from the largest K on anything goes
    assert asked.sum() > 400
    assert (counts.above[asked] <= above[asked]).all()
    at_most = counts.above + counts.ties - 1
    assert (at_most[asked] >= (above + ties)[asked]).all()
    undecided = counter.undecided(best, counts)
    assert 0 < len(undecided) < 350
    decided = asked.clone()
    decided[undecided] = False
    found = torch.bucketize(counts.above, counter.ks, right=True)
    for truth in (above, above + ties):
        assert torch.equal(found[decided], torch.bucketize(truth, counter.ks, right=True)[decided])
    exact = counter.recount(best, undecided)
    few = undecided[above[undecided] < 10]
    assert torch.equal(exact.above[few], above[few])
    assert torch.equal(exact.ties[few], ties[few])


def test_shares_of_the_work_add_up():
    counter = counter_of(*clustered(300, 8), tile=32)
    best = counter.best_positives()
    parts = [counter.best_positives(rank, 3) for rank in range(3)]
    assert torch.equal(torch.stack(parts).amax(0), best)
    asked = torch.arange(300)
    counter.enough = 10**9  # each share counts to the end
    alone = counter.recount(best, asked)
    shares = [counter.recount(best, asked, rank, 3) for rank in range(3)]
    assert torch.equal(sum(share.above for share in shares), alone.above)
    assert torch.equal(sum(share.ties for share in shares), alone.ties)
    assert all(share.above.sum() < alone.above.sum() for share in shares)


def test_bits_of_bfloat16_are_compared_as_numbers():
    generator = torch.Generator().manual_seed(0)
    tile = (torch.randn(500, 5, generator=generator) - 1).bfloat16()
    tile[:40] = -torch.inf
    low = torch.randn(500, generator=generator).bfloat16()
    truth = tile.amax(dim=1) >= low
    found = reaches(tile, low)
    assert torch.equal(found[low > 0], truth[low > 0])
    assert found[low <= 0].all()
    assert 20 < truth[low > 0].sum() < 200
    assert torch.equal(reaches(tile.T.contiguous().T, low), found)
    assert torch.equal(reaches(tile.float(), low.float()), truth)


def test_more_than_256_are_counted_in_bfloat16():
    part = torch.ones(3, 999, dtype=torch.bfloat16)
    part[1, 501:] = 0
    found = row_sums(torch.gt, part, torch.tensor([0.5, 0.5, 1.0]).bfloat16())
    assert found.tolist() == [999, 501, 0]


def few_tiles(limit):
    """Survey only the first tiles: each takes the same memory."""
    tiles = RankCounter._tiles
    return mock.patch.object(
        RankCounter, "_tiles", lambda self: itertools.islice(tiles(self), limit)
    )


def test_memory_at_200_000_rows_is_at_most_300_mb():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200_000) // 5
    rows = torch.randn(40_000, 128, generator=generator)[labels]
    rows += torch.randn(200_000, 128, generator=generator)
    with (
        few_tiles(6),
        mock.patch("kd_retrieval.recall.grid.has_fast_bfloat16", lambda device: True),
    ):
        taken = peak_bytes(lambda: recall_at_k(rows, labels, ks=(1, 1000)), CPU)
    assert 200_000 * 128 * 6 < taken < 300e6


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("what", ["clustered", "collapsed", "signs"])
def test_memory_beyond_the_rows_depends_on_no_embedding(what, metric):
    rows, labels = clustered(6000, 32)
    if what == "collapsed":
        rows = rows[:1] + 1e-6 * rows
    if what == "signs":  # many ties
        rows = rows[:, :12].sign()
    taken = peak_bytes(lambda: recall_at_k(rows, labels, ks=(1, 1000), metric=metric), CPU)
    assert taken < 6 * rows.numel() + 120e6
