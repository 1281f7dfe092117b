"""Rows held in blocks: the same rows, the same recall, and a bound on the memory at any size."""

from unittest import mock

import pytest
import torch

from benchmarks.measure import peak_bytes
from kd_retrieval import recall_at_k
from kd_retrieval.recall.block_rows import BlockRows
from kd_retrieval.recall.count import RankCounter
from kd_retrieval.recall.grid import exponent_of, grid_rows
from kd_retrieval.recall.inputs import prepare
from kd_retrieval.recall.similarity import Similarity

CPU = torch.device("cpu")
SLICES = [slice(0, 5), slice(3, 9), slice(6, 8), slice(20, 23), torch.tensor([22, 0, 9, 9])]


@pytest.fixture(autouse=True)
def fast_bfloat16(monkeypatch):
    for module in ("grid", "block_rows"):
        monkeypatch.setattr(f"kd_retrieval.recall.{module}.has_fast_bfloat16", lambda device: True)


@pytest.fixture
def vectors():
    return torch.randn(23, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_rows_are_those_that_are_all_held(vectors, metric, dtype):
    vectors, order = vectors.to(dtype), torch.randperm(23)
    exponent = 0 if metric == "cosine" else exponent_of(vectors)
    held = grid_rows(vectors, order, metric, exponent)
    blocks = BlockRows(vectors, order, metric, exponent, block=6)
    assert (len(blocks), blocks.size, blocks.step) == (23, 12, held.step)
    for rows in SLICES:
        assert torch.equal(blocks.steps_at(rows), held.steps_at(rows))
        for kind in (torch.float32, torch.float64):
            assert torch.equal(blocks.at(rows, kind), held.at(rows, kind))
        half = held.at(rows, torch.float32).bfloat16()
        assert torch.equal(blocks.at(rows, torch.bfloat16), half)
    if metric == "l2":
        assert torch.equal(blocks.squares, held.squares)


def test_two_blocks_of_one_type_are_held(vectors):
    rows = BlockRows(vectors, torch.arange(23), "cosine", block=6)
    with mock.patch.object(BlockRows, "_made", autospec=True, side_effect=BlockRows._made) as made:
        for begin in (0, 6, 0, 6, 12, 6, 0):
            rows.at(slice(begin, begin + 6), torch.bfloat16)
        assert made.call_count == 4
        rows.at(slice(0, 6), torch.float64)
        assert list(rows._blocks) == [(0, torch.int32)]
    rows.use_less_memory()
    assert rows.block == 3 and not rows._blocks


def peak(rows, size, block):
    """Bytes that recall takes at most beyond embeddings and labels, on a GPU of any size.

    Of each row 230 bytes: numbers of its place, of its label and counts, of which several are held
    while they are summed. Two blocks of a side in int32. In a recount a tile of 1,024 x 8,192 in
    float64, five times that where all of its rows are near, its columns in int32 and float64, and
    4,096 rows in float64, six times that, while they are made.
    """
    tile, chunk = 1024 * 8192 * 8, 4096 * size * 8
    return 230 * rows + 2 * block * size * 4 + 5 * tile + 8192 * size * 12 + 6 * chunk


def test_a_million_rows_of_512_take_less_than_a_gigabyte():
    rows = BlockRows(torch.empty(1, 512), torch.zeros(1, dtype=torch.int64), "cosine")
    assert rows.block == 65536
    assert peak(1_000_000, 512, rows.block) < 1e9


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("kd_retrieval.recall.inputs._IN_BLOCKS", ("cpu",))
    monkeypatch.setattr("kd_retrieval.recall.block_rows._NUMBERS", 1024 * 512)
    monkeypatch.setattr("kd_retrieval.recall.block_rows._ALIGNED", 1024)
    for module in ("grid", "block_rows"):
        monkeypatch.setattr(f"kd_retrieval.recall.{module}.CHUNK", 128)


def clustered():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(800, (4096,), generator=generator)
    rows = torch.randn(800, 512, generator=generator)[labels]
    return rows + 3 * torch.randn(4096, 512, generator=generator), labels


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("what", ["clustered", "collapsed", "sets"])
def test_memory_stays_below_the_bound(what, metric, small_blocks, monkeypatch):
    rows, labels = clustered()
    if what == "collapsed":
        rows = rows[:1] + 1e-6 * rows
    table = 0
    if what == "sets":
        labels = [{label, 800 + label % 7} for label in labels.tolist()]
        table = 4096 * 13 * 8  # of 807 labels
    taken = peak_bytes(lambda: recall_at_k(rows, labels, ks=(1, 10), metric=metric), CPU)
    tiles = 1024 * 1024 * 8 * 5 + 1024 * 512 * 12 + 6 * 128 * 512 * 8
    assert taken < 230 * 4096 + 2 * 1024 * 512 * 4 + tiles + 2 * table
    monkeypatch.setattr("kd_retrieval.recall.inputs._IN_BLOCKS", ())
    held = peak_bytes(lambda: recall_at_k(rows, labels, ks=(1, 10), metric=metric), CPU)
    assert taken < held


def test_sets_of_labels_have_their_rows_made_once_for_each_block(small_blocks, monkeypatch):
    rows, labels = clustered()
    sets = [{label} for label in labels.tolist()]
    made = []

    def count(self, places, dtype, plain=BlockRows._made):
        made.append(len(places))
        return plain(self, places, dtype)

    monkeypatch.setattr(BlockRows, "_made", count)
    given = prepare(rows, sets, ks=(1,), in_blocks=True)
    counter = RankCounter(
        Similarity(given.queries, given.gallery), given.labels, given.itself, True, (1,), tile=1024
    )
    best = counter.best_positives()
    blocks = 4096 // 1024
    assert sum(made) <= 4096 * blocks  # and not once for each of 32 strips of queries
    held = prepare(rows, labels, ks=(1,))
    other = RankCounter(
        Similarity(held.queries, held.gallery), held.labels, held.itself, True, (1,)
    ).best_positives()
    expected = torch.empty_like(other)
    expected[held.order] = other
    assert torch.equal(best[torch.argsort(given.order)], expected)
