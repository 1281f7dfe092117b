"""Triton kernel of recall: the same results as without it, in triton's interpreter on a CPU."""

import os
import subprocess
import sys
from unittest import mock

import pytest
import torch

from kd_retrieval import recall_at_k
from kd_retrieval.recall import count
from kd_retrieval.recall.count import RankCounter
from kd_retrieval.recall.inputs import prepare
from kd_retrieval.recall.similarity import Similarity

pytest.importorskip("triton")  # comes with torch's CUDA builds for Linux

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BLOCK = (32, 32, 16)
KS = (1, 3, 10)


@pytest.fixture
def used(monkeypatch):
    """Count with the kernel on any device, and list the tiles."""
    from kd_retrieval.recall.tile_kernel import TileKernel

    tiles = []

    class Listed(TileKernel):
        def add(self, rows, columns, both):
            tiles.append((rows.start, columns.start, both))
            super().add(rows, columns, both)

    def made(similarity, itself, best):
        kernel = Listed(similarity, itself, best, BLOCK) if similarity.has_half else None
        if kernel is not None:
            kernel.try_out()
            tiles.clear()
        return kernel

    monkeypatch.setattr(count, "tile_kernel", made)
    monkeypatch.setattr("kd_retrieval.recall.grid.has_fast_bfloat16", lambda device: True)
    monkeypatch.setattr(count, "_TILE", 64 if DEVICE.type == "cpu" else 8)
    return tiles


def embeddings(what, rows=150, size=24):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(rows // 5, (rows,), generator=generator)
    found = torch.randn(rows // 5, size, generator=generator)[labels]
    found += torch.randn(rows, size, generator=generator)
    if what == "ties":
        found = found[:, :10].sign()
    if what == "collapsed":
        found = found[:1] + 1e-6 * found
    if what == "equal":
        found[:] = found[0]
    if what == "duplicates":
        found[::3] = found[1]
    return found.to(DEVICE), labels


EMBEDDINGS = ("clustered", "ties", "collapsed", "equal", "duplicates")


def without_kernel():
    return mock.patch.object(count, "tile_kernel", lambda *_: None)


def assert_same(*args, **options):
    found = recall_at_k(*args, **options)
    with without_kernel():
        expected = recall_at_k(*args, **options)
    assert found.recall == expected.recall
    assert found.optimistic == expected.optimistic
    assert found.notes == expected.notes
    assert torch.equal(found.found_at, expected.found_at)


@pytest.mark.parametrize("what", EMBEDDINGS)
def test_recall_is_that_without_the_kernel(what, used):
    assert_same(*embeddings(what), ks=KS)
    assert (0, 0, False) in used and (0, 64, True) in used and (64, 0, True) not in used


@pytest.mark.parametrize("what", ["clustered", "duplicates"])
def test_a_gallery_that_holds_some_queries(what, used):
    rows, labels = embeddings(what)
    ids = torch.arange(len(rows))
    assert_same(
        rows[:70], labels[:70], rows[40:], labels[40:],
        ks=KS, query_ids=ids[:70], gallery_ids=ids[40:],
    )  # fmt: skip
    assert used and not any(both for _, _, both in used)


def test_sets_of_labels_and_dot(used):
    rows, labels = embeddings("clustered")
    sets = [{int(one), int(one) % 7 + 100} for one in labels]
    assert_same(rows, sets, ks=KS)
    assert_same(3 * rows, labels, ks=KS, metric="dot")
    assert used


@pytest.fixture
def in_blocks(monkeypatch):
    """Hold blocks of 64 rows, on any device."""
    monkeypatch.setattr("kd_retrieval.recall.inputs._IN_BLOCKS", ("cpu", "cuda"))
    monkeypatch.setattr("kd_retrieval.recall.block_rows.has_fast_bfloat16", lambda device: True)
    monkeypatch.setattr("kd_retrieval.recall.block_rows._ALIGNED", 64)
    monkeypatch.setattr("kd_retrieval.recall.block_rows._NUMBERS", 64 * 24)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("what", EMBEDDINGS)
def test_recall_with_blocks_of_rows(what, metric, used, in_blocks):
    rows, labels = embeddings(what)
    rows[10:20] *= 1.5
    assert_same(rows, labels, ks=KS, metric=metric)
    assert (0, 128, True) in used and used.index((64, 64, False)) < used.index((64, 128, True))


def test_l2_takes_the_kernel_only_with_blocks_of_rows(used):
    assert_same(*embeddings("clustered"), ks=KS, metric="l2")
    assert not used


def test_the_truth_lies_between_the_counts_of_l2(used, in_blocks):
    rows, labels = embeddings("clustered")
    counter = counter_of(rows * torch.linspace(0.5, 1, len(rows))[:, None], labels, "l2")
    assert_truth_between(counter)
    assert used


def counter_of(rows, labels, metric="cosine"):
    given = prepare(rows, labels, ks=KS, metric=metric, in_blocks=True)
    similarity = Similarity(given.queries, given.gallery)
    return RankCounter(similarity, given.labels, given.itself, True, KS, tile=64)


@pytest.mark.parametrize("what", EMBEDDINGS)
def test_the_truth_lies_between_the_counts(what, used):
    rows, labels = embeddings(what)
    counter = counter_of(rows, labels)
    undecided = assert_truth_between(counter)
    if what == "clustered":
        assert undecided < 50


def assert_truth_between(counter):
    best = counter.best_positives()
    counts = counter.survey(best)
    everything = slice(0, len(best))
    values = counter.similarity.tile(everything, everything, torch.float64)
    negative = ~counter.labels.same(everything, everything)
    has = best > -torch.inf
    above = ((values > best[:, None]) & negative).sum(dim=1)
    reach = ((values >= best[:, None]) & negative).sum(dim=1)
    assert (counts.above[has] <= above[has]).all()
    assert ((counts.above + counts.ties - 1)[has] >= reach[has]).all()
    assert not counts.above[~has].any() and not counts.ties[~has].any()
    return len(counter.undecided(best, counts))


def test_shares_of_ranks_add_up(used):
    counter = counter_of(*embeddings("clustered"))
    best = counter.best_positives()
    alone = counter.survey(best)
    shares = [counter.survey(best, rank, 3) for rank in range(3)]
    assert torch.equal(sum(one.above for one in shares), alone.above)
    assert torch.equal(sum(one.ties for one in shares), alone.ties)
    assert all(one.above.sum() < alone.above.sum() for one in shares)


@pytest.mark.parametrize("wrong", ["_high", "_low"])
def test_a_kernel_that_counts_wrongly_on_a_device_is_found_out(used, wrong):
    from kd_retrieval.recall.tile_kernel import TileKernel

    rows, labels = embeddings("clustered")
    kernels = []

    def made(similarity, itself, best):
        kernels.append(TileKernel(similarity, itself, best, BLOCK))

    with mock.patch.object(count, "tile_kernel", made):
        recall_at_k(rows, labels, ks=KS)
    (kernel,) = kernels
    kernel.try_out()
    assert [int(one.sum()) for one in kernel.counts()] == [0, 0]
    getattr(kernel, wrong).fill_(-torch.inf if wrong == "_high" else torch.inf)
    with pytest.raises(ArithmeticError, match="of 150 rows on cpu"):
        kernel.try_out()


def test_without_triton_a_gpu_or_many_queries_there_is_no_kernel(monkeypatch, caplog):
    similarity = mock.Mock(has_half=True)
    itself, best = mock.MagicMock(is_cuda=True), torch.zeros(9)
    itself.__len__.return_value = 4096
    made = mock.Mock()
    monkeypatch.setitem(sys.modules, "kd_retrieval.recall.tile_kernel", made)
    kernel = made.TileKernel.return_value
    assert count.tile_kernel(similarity, itself, best) is kernel
    kernel.try_out.assert_called_once()
    for itself.is_cuda, rows, similarity.has_half in (
        (False, 4096, True),
        (True, 4095, True),
        (True, 4096, False),
    ):
        itself.__len__.return_value = rows
        assert count.tile_kernel(similarity, itself, best) is None
    assert not caplog.text
    similarity.has_half = True
    kernel.try_out.side_effect = RuntimeError("Failed to find C compiler")
    assert count.tile_kernel(similarity, itself, best) is None
    assert "without triton, which takes longer: Failed to find C compiler" in caplog.text
    monkeypatch.setitem(sys.modules, "kd_retrieval.recall.tile_kernel", None)  # ImportError
    assert count.tile_kernel(similarity, itself, best) is None


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from kd_retrieval.recall.tile_kernel import _BLOCK, _count_tile

types = ["*bf16"] * 2 + ["*fp32"] * 4 + ["*i64"] + ["*i32"] * 2 + ["i32"] * 4
fixed = dict(SIZE=512, SQUARES=True, BOTH=True, WIDEN=False)
fixed |= dict(HEIGHT=_BLOCK[0], WIDTH=_BLOCK[1], DEPTH=_BLOCK[2])
signature = dict(zip(_count_tile.arg_names, types)) | dict.fromkeys(fixed, "constexpr")
aligned = {(place,): [["tt.divisibility", 16]] for place in range(9)}
source = ASTSource(_count_tile, signature, fixed, aligned)
made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
print(made.metadata.shared, made.asm["ptx"].count("wgmma.mma_async"))
"""


def test_it_compiles_for_a_gpu_to_matrix_units(tmp_path):
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    made = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    shared, products = map(int, made.stdout.split())
    assert shared <= 99 * 1024 and products > 0
