import math
from unittest import mock

import pytest
import torch

from kd_retrieval.recall.grid import METRICS, exponent_of, grid_rows, norms
from kd_retrieval.recall.precision import full_precision
from kd_retrieval.recall.similarity import Similarity
from kd_retrieval.search.faiss_search import FlatSearch

HALF = 2**-9  # roundoff of bfloat16
# In bfloat16 (0.6, 0.8) becomes (0.6015625, 0.80078125). Norms of 4,096 numbers are in float32.
HAND = (1.01 + 4096 * 2**-23) * math.hypot(0.0015625, 0.00078125) + 2**-20


def canceling(size):
    """Large terms of both signs, and one small one that is left."""
    generator = torch.Generator().manual_seed(size)
    values = torch.rand(60, size, generator=generator, dtype=torch.float64) + 0.5
    rows = torch.cat([values, values])
    rows[60:, : size // 2] *= -1
    rows[:, -1] = 1e-3
    return rows


def halfway(size):
    """Coordinates that lie as far as possible from the next bfloat16, all to the same side."""
    base = 2.0 ** torch.randint(-3, 1, (100, size), generator=torch.Generator().manual_seed(1))
    return base.double() * (1 + 2 * HALF * torch.randint(8, (100, 1)) + HALF * (1 - 1e-3))


def signs(size):
    return torch.randint(2, (80, size), generator=torch.Generator().manual_seed(2)).double() * 2 - 1


def collapsed(size):
    noise = torch.randn(90, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.ones(1, size) + 1e-6 * noise


def spread(size):
    """Rows, and coordinates of a row, of very different size."""
    generator = torch.Generator().manual_seed(4)
    sizes = torch.randint(-30, 30, (70, size), generator=generator)
    return torch.randn(70, size, generator=generator, dtype=torch.float64) * 2.0**sizes


HARD = (canceling, halfway, signs, collapsed, spread)


def compare(rows, metric, half=True):
    """Put rows on the grid, and compare them with each other."""
    with mock.patch("kd_retrieval.recall.grid.has_fast_bfloat16", lambda device: half):
        one = grid_rows(rows, torch.arange(len(rows)), metric, exponent_of(rows))
    return Similarity(one, one)


def exact(compared):
    """The similarities in Python's integers, in units of the square of a step."""
    steps = [row.tolist() for row in compared.queries.steps]
    products = [[sum(map(int.__mul__, a, b)) for b in steps] for a in steps]
    if compared.queries.squares is None:
        return products
    return [
        [2 * value - products[i][i] - products[j][j] for j, value in enumerate(row)]
        for i, row in enumerate(products)
    ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("make", HARD)
def test_float64_tiles_and_pairs_are_exact(make, metric):
    compared = compare(make(11)[::4], metric)
    expected = torch.tensor(exact(compared)).double() * compared.queries.step**2
    everything = slice(0, len(expected))
    assert torch.equal(compared.tile(everything, everything, torch.float64), expected)
    rows, columns = torch.cartesian_prod(*[torch.arange(len(expected))] * 2).T
    with mock.patch("kd_retrieval.recall.grid.CHUNK", 7):
        assert torch.equal(compared.pairs(rows, columns), expected.flatten())
    assert max(abs(value) for row in exact(compared) for value in row) < 2**53


@pytest.mark.parametrize("metric", METRICS)
def test_a_float64_tile_is_exact_in_any_order_and_at_any_size(metric):
    rows = torch.cat([canceling(700), signs(700)])
    compared = compare(rows, metric)
    everything = slice(0, len(rows))
    tile = compared.tile(everything, everything, torch.float64)
    order = torch.randperm(700, generator=torch.Generator().manual_seed(0))
    compared.queries.steps = compared.queries.steps[:, order]
    assert torch.equal(compared.tile(everything, everything, torch.float64), tile)
    assert torch.equal(compared.tile(slice(3, 4), everything, torch.float64), tile[3:4])
    every = torch.arange(len(rows))
    found = compared.pairs(every, every.flip(0))
    assert torch.equal(found, tile[every, every.flip(0)])
    assert torch.equal(tile, tile.T)


def require_within_bounds(compared, approximate, dtype):
    everything = slice(0, len(compared.queries))
    truth = compared.tile(everything, everything, torch.float64)
    # Each exact similarity as the value: its own approximate one must not be called above or below.
    high, low = compared.bounds(truth.flatten(), dtype)
    approximate = approximate.flatten()
    assert (approximate <= high).all()
    assert (approximate >= low).all()
    # Bounds are of use only if they are narrow.
    size = compared.queries.steps.shape[1]
    width = 2**-4 if dtype == torch.bfloat16 else (8 + size) * 2**-20
    assert (high.double() - low.double()).max() <= width


@pytest.mark.parametrize("size", [3, 64, 1000, 4096])
@pytest.mark.parametrize("make", HARD)
@pytest.mark.parametrize("metric", METRICS)
def test_approximate_similarities_are_within_their_bounds(metric, make, size):
    compared = compare(make(size), metric)
    assert compared.dtypes[-2:] == (torch.float32, torch.float64)
    everything = slice(0, len(compared.queries))
    with full_precision(torch.device("cpu")):
        for dtype in compared.dtypes[:-1]:
            require_within_bounds(compared, compared.tile(everything, everything, dtype), dtype)


@pytest.mark.parametrize("size", [3, 64, 1000, 4096])
@pytest.mark.parametrize("make", HARD)
@pytest.mark.parametrize("metric", METRICS)
def test_similarities_of_faiss_are_within_the_bounds_of_float32(metric, make, size):
    compared = compare(make(size), metric)
    count = len(compared.queries)
    search = FlatSearch(compared)
    for at_once in (count, 5):  # FAISS computes many queries and few in different ways
        parts = [search(part, count) for part in torch.arange(count).split(at_once)]
        found, columns = (torch.cat(side) for side in zip(*parts, strict=True))
        approximate = torch.empty_like(found).scatter_(1, columns, found)
        require_within_bounds(compared, approximate, torch.float32)


@pytest.mark.parametrize(
    ("metric", "dtype", "error"),
    [
        # 1.01 (2 r + r^2) + 2 D u, where r = 1.01 u is the rounding of a row and u = 2^-24.
        ("cosine", torch.float32, 1.01 * (2.02 * 2**-24 + (1.01 * 2**-24) ** 2) + 8192 * 2**-24),
        # The same twice, and 16 u for the squared norms.
        ("l2", torch.float32, 2.02 * (2.02 * 2**-24 + (1.01 * 2**-24) ** 2) + 16400 * 2**-24),
        # 1.01 (2 r + r^2) + 4 D u, and r is that of (0.6, 0.8): see HAND.
        ("cosine", torch.bfloat16, 1.01 * (2 * HAND + HAND**2) + 16384 * 2**-24),
    ],
)
def test_the_error_that_is_allowed_worked_out_by_hand(metric, dtype, error):
    rows = torch.zeros(2, 4096)
    rows[:, 0], rows[:, 1] = 0.6, 0.8
    with mock.patch("kd_retrieval.recall.grid.has_fast_bfloat16", lambda device: True):
        side = grid_rows(rows, torch.arange(2), metric)
    assert Similarity(side, side)._error(dtype, dtype) == pytest.approx(error, rel=3e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_bounds_are_the_next_numbers_outside(dtype):
    compared = compare(signs(64), "cosine")
    values = torch.linspace(-1, 1, 10_001, dtype=torch.float64)
    high, low = compared.bounds(values, dtype)
    error = compared._error(dtype, dtype)
    for bound, wanted in ((high, values + error), (-low, -(values - error))):
        assert (bound.double() >= wanted).all()
        below = torch.nextafter(bound, torch.full_like(bound, -torch.inf))
        assert (below.double() < wanted).all()
    nothing = torch.tensor([-torch.inf], dtype=torch.float64)
    assert torch.cat(compared.bounds(nothing, dtype)).tolist() == [-torch.inf] * 2


def test_bfloat16_is_used_where_it_is_fast_but_not_for_distances():
    rows = signs(8)
    assert compare(rows, "cosine").dtypes[0] == torch.bfloat16
    assert compare(rows, "cosine", half=False).dtypes[0] == torch.float32
    assert compare(rows, "l2").dtypes[0] == torch.float32


def test_the_scale_of_rows_changes_no_cosine():
    rows = canceling(20)
    scaled = rows * 2.0 ** torch.arange(-60, 60)[:, None]
    assert torch.equal(
        compare(rows, "cosine").queries.steps, compare(scaled, "cosine").queries.steps
    )


def test_the_grid_is_relative_to_the_longest_row():
    rows = torch.tensor([[3.0, 4.0], [0.25, 0.0]])
    for metric in ("l2", "dot"):
        one = compare(rows, metric).queries
        assert torch.equal(one.at(slice(0, 2), torch.float64) * 8, rows.double())


def test_the_exponent_is_of_the_power_above_the_longest_row():
    rows = torch.tensor([[3.0, 4.0], [0.25, 0.0]], dtype=torch.float64)
    assert exponent_of(rows) == 3
    assert exponent_of(rows[1:], rows) == 3
    assert exponent_of(rows * 2.0**1020) == 1023
    assert exponent_of(rows[1:] * 2.0**-1072) == -1073
    assert exponent_of(torch.full((1, 4), 1.5 * 2.0**1023, dtype=torch.float64)) == 1025
    assert exponent_of(torch.zeros(2, 2)) == 0
    assert exponent_of(torch.ones(1, 1)) == 1  # the power is above


def test_norms_are_the_same_in_any_batch():
    rows = spread(37)
    alone = torch.cat([norms(row[None]) for row in rows])
    assert torch.equal(norms(rows), alone)
    assert torch.allclose(alone, rows.norm(dim=1), rtol=1e-14, atol=0)


def test_rows_keep_the_order_that_is_asked_for():
    rows = signs(3)[:4] * torch.arange(1, 4)
    order = torch.tensor([2, 0, 3, 1])
    one = grid_rows(rows, order, "cosine")
    assert torch.equal(one.steps, grid_rows(rows, torch.arange(4), "cosine").steps[order])
