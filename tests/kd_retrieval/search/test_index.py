"""Indexes over stored embeddings."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from kd_retrieval.search.index import agreement, build_index

table = runpy.run_path(str(Path(__file__).parents[1] / "toy_table.py"))["table"]


def by_hand(vectors, queries, metric):
    vectors, queries = np.asarray(vectors, np.float64), np.asarray(queries, np.float64)
    if metric == "l2":
        return ((queries[:, None] - vectors[None]) ** 2).sum(-1)
    if metric == "cosine":
        vectors, queries = (
            x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors, queries)
        )
    return queries @ vectors.T


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_flat_finds_the_exact_neighbors(metric, dtype):
    rows = table(vectors=table().vectors.astype(dtype))
    queries = table(20, seed=1).vectors
    found = build_index(rows, "flat", metric).search(queries, 5)
    scores = by_hand(rows.vectors, queries, metric)
    order = np.argsort(scores if metric == "l2" else -scores, axis=1)[:, :5]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, order, 1), rtol=1e-4)


def test_a_query_never_finds_itself_even_among_duplicates():
    vectors = np.repeat(table(10).vectors, 5, axis=0)  # five copies of each
    rows = table(vectors=vectors)
    found = build_index(rows).search(vectors, 4, rows.ids)
    for i, neighbors in enumerate(found.rows):
        assert sorted(neighbors) == sorted(set(range(i // 5 * 5, i // 5 * 5 + 5)) - {i})


def test_only_the_gallery_is_found():
    roles = np.arange(600) % 3  # both, query, gallery
    rows = table(roles=roles)
    index = build_index(rows)
    found = index.search(rows.vectors[:30], 7, rows.ids[:30])
    assert (roles[found.rows] != 1).all()
    assert not (found.rows == np.arange(30)[:, None]).any()
    assert len(index.rows) == 400


def test_more_neighbors_than_there_are():
    rows = table(4)
    found = build_index(rows).search(rows.vectors, 9, rows.ids)
    assert found.rows.shape == (4, 4)
    assert (found.rows[:, :3] >= 0).all() and (found.rows[:, 3] == -1).all()
    assert np.isnan(found.scores[:, 3]).all() and np.isfinite(found.scores[:, :3]).all()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_learned_indexes_find_most_neighbors(kind):
    rows = table(2000)
    queries = table(100, seed=1).vectors
    exact = build_index(rows).search(queries, 10)
    poor, default, full = (
        agreement(build_index(rows, kind, probes=probes).search(queries, 10), exact)
        for probes in (1, None, 2000)
    )
    assert poor < default <= full and default > 0.6 and full > 0.99
    assert agreement(exact, exact) == 1


def test_ivf_has_four_roots_of_lists_within_bounds():
    assert build_index(table(600), "ivf").index.nlist == 600 // 39
    assert build_index(table(30_000, 2), "ivf").index.nlist == int(4 * 30_000**0.5)
    with pytest.raises(ValueError, match="at least 390 vectors .* there are 389. Take flat"):
        build_index(table(389), "ivf")


def test_the_same_index_twice():
    rows, queries = table(2000), table(50, seed=1).vectors
    first, second = (build_index(rows, "ivf").search(queries, 10).rows for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'tree' with 'cosine'"):
        build_index(table(), "tree")
    with pytest.raises(ValueError, match="'flat' with 'hamming'"):
        build_index(table(), "flat", "hamming")
    with pytest.raises(ValueError, match="probes must be at least 1"):
        build_index(table(), "ivf", probes=0)
    index = build_index(table())
    with pytest.raises(ValueError, match=r"\(Q, 8\), but k is 3 and queries are \(2, 9\)"):
        index.search(np.zeros((2, 9), np.float32), 3)
    with pytest.raises(ValueError, match="k is 0"):
        index.search(np.ones((2, 8), np.float32), 0)


def test_a_zero_vector_under_cosine_is_named():
    vectors = table(50).vectors
    vectors[17] = 0
    roles = np.zeros(50, np.int64)
    roles[:5] = 1
    with pytest.raises(ValueError, match="row 17 is 0.0"):
        build_index(table(vectors=vectors, roles=roles))
    build_index(table(vectors=vectors), metric="l2")
    with pytest.raises(ValueError, match="row 17 is 0.0"):
        build_index(table(50)).search(vectors, 3)
