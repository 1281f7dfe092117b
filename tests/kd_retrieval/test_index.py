"""Indexes over stored embeddings."""

import dataclasses

import faiss
import numpy as np
import pytest

from kd_retrieval.embeddings import EmbeddingKey, Embeddings
from kd_retrieval.index import agreement, build_index, load_index, save_index

KEY = EmbeddingKey("a" * 64, "b" * 64, "[]", "c" * 64, "float32")


def table(count=600, dim=8, roles=None, vectors=None, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, dim)).astype(np.float32) if vectors is None else vectors
    count = len(vectors)
    return Embeddings(
        vectors=vectors,
        labels=np.zeros(count, np.int64),
        ids=np.arange(count, dtype=np.int64) * 3 + 100,
        roles=np.zeros(count, np.int64) if roles is None else roles,
        paths=("x",) * count,
        class_names=("x",),
        key=KEY,
    )


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
def test_flat_finds_the_exact_neighbours(metric, dtype):
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
    for i, neighbours in enumerate(found.rows):
        assert sorted(neighbours) == sorted(set(range(i // 5 * 5, i // 5 * 5 + 5)) - {i})


def test_only_the_gallery_is_found():
    roles = np.arange(600) % 3  # both, query, gallery
    rows = table(roles=roles)
    index = build_index(rows)
    found = index.search(rows.vectors[:30], 7, rows.ids[:30])
    assert (roles[found.rows] != 1).all()
    assert not (found.rows == np.arange(30)[:, None]).any()
    assert len(index.rows) == 400


def test_more_neighbours_than_there_are():
    rows = table(4)
    found = build_index(rows).search(rows.vectors, 9, rows.ids)
    assert found.rows.shape == (4, 4)
    assert (found.rows[:, :3] >= 0).all() and (found.rows[:, 3] == -1).all()
    assert np.isnan(found.scores[:, 3]).all() and np.isfinite(found.scores[:, :3]).all()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_learned_indexes_find_most_neighbours(kind):
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


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_kept_index_finds_the_same(kind, tmp_path):
    rows, queries = table(), table(20, seed=1).vectors
    built = build_index(rows, kind, "l2")
    save_index(tmp_path / "below/an.index", built)
    read = load_index(tmp_path / "below/an.index", rows)
    assert (read.kind, read.metric) == (kind, "l2")
    for one, other in zip(built.search(queries, 5).rows, read.search(queries, 5).rows, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["an.index"]
    assert faiss.read_index(str(tmp_path / "below/an.index")).ntotal == 600  # FAISS's own file


def test_an_index_of_another_checkpoint_is_refused(tmp_path):
    save_index(tmp_path / "an.index", build_index(table()))
    other = dataclasses.replace(table(), key=dataclasses.replace(KEY, checkpoint="d" * 64))
    message = (
        r"an.index is stale.*another checkpoint \(it has aaaaaaaaaaaa, expected is dddddddddddd"
        r".*Remove it, so that it is built again"
    )
    with pytest.raises(ValueError, match=message):
        load_index(tmp_path / "an.index", other)
    with pytest.raises(ValueError, match="600 x 8 .* holds 600 x 8|500 x 8 .* holds 600 x 8"):
        load_index(tmp_path / "an.index", table(500))


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "an.index"
    save_index(path, build_index(table()))
    content = path.read_bytes()
    tail = len(content) - content.rindex(b'{"kind')
    for damaged, message in (
        (content[:1000], "its end is missing"),
        (b"nonsense", "its end is missing"),
        (b"", "its end is missing"),
        (content[-tail + 5 :], "is no index of tools/search.py"),
        (content[-40:], "is no index of tools/search.py"),
        (b"abcd" + content[4:], "an.index cannot be read"),
        (content[:500] + content[-tail:], "an.index cannot be read"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            load_index(path, table())
    faiss.write_index(faiss.IndexFlatL2(8), str(path))
    with pytest.raises(ValueError, match="an.index is no index of tools/search.py"):
        load_index(path, table())
    with pytest.raises(FileNotFoundError):
        load_index(tmp_path / "lost", table())


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
