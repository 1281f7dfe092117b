"""Recall@K against an oracle of integers, on embeddings with planted defects."""

import contextlib
import functools
import warnings
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_retrieval import recall_at_k
from kd_retrieval.recall.count import RankCounter
from kd_retrieval.recall.inputs import _same_id

METRICS = ("cosine", "l2", "dot")


def grid(rows, metric, scale):
    """Put rows on the grid, as integers."""
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True)) if metric == "cosine" else scale
    return np.rint(rows / length * 2 ** (25 if metric == "l2" else 26)).astype(np.int64)


def oracle(queries, labels, gallery, gallery_labels, itself, ks, metric):
    """Count negatives above and level with the best positive, in integers, one by one."""
    largest = max(float(np.linalg.norm(side, axis=1).max()) for side in (queries, gallery))
    scale = 2.0 ** np.frexp(largest or 1.0)[1]
    left, right = (grid(side.astype(np.float64), metric, scale) for side in (queries, gallery))
    values = left @ right.T
    if metric == "l2":
        values = 2 * values - (left**2).sum(axis=1)[:, None] - (right**2).sum(axis=1)
    above, ties = [], []
    for i, row in enumerate(values):
        others = np.arange(len(row)) != itself[i]
        same = np.array([bool(set(labels[i]) & set(other)) for other in gallery_labels])
        if (same & others).any():
            best = row[same & others].max()
            above.append((row[~same & others] > best).sum())
            ties.append((row[~same & others] >= best).sum())
    share = [{k: sum(r < k for r in ranks) / len(ranks) for k in ks} for ranks in (ties, above)]
    return share[0], share[1], len(ties)


def planted(seed, n, size, classes, defects):
    """Draw embeddings of some classes, with defects."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    rows = rng.normal(size=(n, size)) + rng.normal(size=(classes, size))[labels]
    if "signs" in defects:
        rows = np.where(rows > 0, 1.0, -1.0)
    if "collapsed" in defects:
        rows = rows[:1] + 1e-8 * rng.normal(size=(n, size))
    if "equal" in defects:
        rows[:] = rows[0]
    if "duplicates" in defects:
        rows[rng.integers(n, size=n // 3)] = rows[rng.integers(n, size=n // 3)]
    if "scaled" in defects:
        rows *= 10.0 ** rng.integers(-3, 4, size=(n, 1))
    if "singletons" in defects:
        labels[rng.integers(n, size=n // 4)] = classes + np.arange(n // 4)
    return rows.astype(np.float32), labels


DEFECTS = ("signs", "collapsed", "equal", "duplicates", "scaled", "singletons")
CASES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n": st.integers(2, 40),
        "size": st.integers(1, 9),
        "classes": st.integers(1, 9),
        "defects": st.sets(st.sampled_from(DEFECTS), max_size=3),
    }
)
KS = st.lists(st.integers(1, 60), min_size=1, max_size=4, unique=True)


@contextlib.contextmanager
def small_pieces(tile, half, dense=64):
    """Do everything in small pieces, with or without bfloat16 products.

    Doubtful pairs are then computed by finer tiles; with ``dense`` 0 each alone.
    """
    with (
        mock.patch(
            "kd_retrieval.recall.at_k.RankCounter", functools.partial(RankCounter, tile=tile)
        ),
        mock.patch.multiple("kd_retrieval.recall.count", _POSITIVES=(tile, 3), _DENSE=dense),
        mock.patch("kd_retrieval.recall.grid.has_fast_bfloat16", lambda device: half),
        mock.patch("kd_retrieval.recall.grid.CHUNK", 6),
    ):
        yield


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def require_equal(result, expected, note=""):
    recall, optimistic, n_valid = expected
    assert result.recall == recall, note
    assert result.optimistic == optimistic, note
    assert result.n_valid == n_valid, note


def has_positive(labels):
    return len(set(labels.tolist())) < len(labels)


@settings(max_examples=100, deadline=None)
@given(
    CASES,
    KS,
    st.sampled_from(METRICS),
    st.sampled_from([1, 4, 7, 64]),
    st.booleans(),
    st.sampled_from([0, 64]),
    st.sampled_from([1, 2]),
)
def test_searching_the_queries_equals_the_oracle(case, ks, metric, tile, half, dense, n_threads):
    rows, labels = planted(**case)
    call = functools.partial(recall_at_k, rows, labels, ks=ks, metric=metric)
    with small_pieces(tile, half, dense), threads(n_threads):
        if not has_positive(labels):
            with pytest.raises(ValueError, match="recall needs a query with a positive"):
                call()
            return
        result = call()
    sets = [(label,) for label in labels.tolist()]
    expected = oracle(rows, sets, rows, sets, np.arange(len(rows)), ks, metric)
    require_equal(result, expected)
    assert result.n_queries == result.n_gallery == len(rows)


@settings(max_examples=80, deadline=None)
@given(
    CASES,
    KS,
    st.sampled_from(METRICS),
    st.sampled_from([1, 4, 64]),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_gallery_that_overlaps_equals_the_oracle(case, ks, metric, tile, share, several):
    rows, labels = planted(**case)
    rng = np.random.default_rng(case["seed"])
    ids = rng.permutation(10**9 + np.arange(len(rows)))
    members = rng.permutation(len(rows))[: max(1, len(rows) * 2 // 3)]
    asked = rng.permutation(len(rows))[: max(1, int(share * len(rows)))]
    sets = [tuple({label, (label * 7 + i) % 5} if several else {label})
            for i, label in enumerate(labels.tolist())]  # fmt: skip
    sides = [([sets[i] for i in side] if several else labels[side]) for side in (asked, members)]
    place = {row: column for column, row in enumerate(members)}
    itself = np.array([place.get(row, -1) for row in asked])
    call = functools.partial(
        recall_at_k, rows[asked], sides[0], rows[members], sides[1], ks=ks,
        query_ids=ids[asked], gallery_ids=ids[members], metric=metric,
    )  # fmt: skip
    groups = [[sets[i] for i in side] for side in (asked, members)]
    with small_pieces(tile, True, case["seed"] % 2 * 64):
        if any(
            set(one) & set(other) and itself[i] != j
            for i, one in enumerate(groups[0])
            for j, other in enumerate(groups[1])
        ):
            expected = oracle(rows[asked], groups[0], rows[members], groups[1], itself, ks, metric)
            require_equal(call(), expected)
        else:
            with pytest.raises(ValueError, match="recall needs a query with a positive"):
                call()


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_rows_changes_nothing(metric):
    rows, labels = planted(0, 300, 16, 30, {"duplicates", "singletons"})
    order = np.random.default_rng(1).permutation(300)
    one = recall_at_k(rows, labels, metric=metric)
    other = recall_at_k(rows[order], labels[order], metric=metric)
    assert one.recall == other.recall
    assert one.optimistic == other.optimistic
    assert torch.equal(one.found_at[torch.from_numpy(order)], other.found_at)
    assert 0 < one.recall[1] < 1


def test_found_at_is_the_smallest_k_in_the_order_of_the_queries():
    rows = torch.tensor([[4.0], [0.0], [1.0], [0.4], [3.9], [9.0]])
    labels = [3, 1, 1, 2, 4, 3]
    # From 4, four others are nearer than 9; from 9, none is nearer than 4.
    result = recall_at_k(rows, labels, ks=(1, 2, 5), metric="l2")
    assert result.found_at.tolist() == [5, 2, 2, -1, -1, 1]
    assert result.recall == {1: 0.25, 2: 0.75, 5: 1.0}
    short = recall_at_k(rows, labels, ks=(1,), metric="l2")
    assert short.found_at.tolist() == [0, 0, 0, -1, -1, 1]


def test_many_positives_and_duplicates_above_equal_the_oracle():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(400, 6)).astype(np.float32)
    rows[100:250] = rows[0]
    labels = np.array([7] * 120 + [8] * 60 + list(range(100, 180)) + [9] * 140)
    sets = [(label,) for label in labels.tolist()]
    expected = oracle(rows, sets, rows, sets, np.arange(400), (1, 4, 200), "cosine")
    require_equal(recall_at_k(rows, labels, ks=(1, 4, 200)), expected)
    assert expected[1][4] - expected[0][4] > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_storage_dtype_is_as_good_as_float64(dtype):
    rows, labels = planted(5, 120, 8, 12, set())
    stored = torch.from_numpy(rows).to(dtype)
    sets = [(label,) for label in labels.tolist()]
    exact = stored.double().numpy()
    expected = oracle(exact, sets, exact, sets, np.arange(120), (1, 2, 4, 8), "cosine")
    require_equal(recall_at_k(stored, torch.from_numpy(labels)), expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("exponent", [-1000, -520, 520, 1015])
def test_vectors_may_be_of_any_size(exponent, metric):
    rows, labels = planted(9, 80, 8, 12, {"duplicates"})
    call = functools.partial(recall_at_k, query_labels=labels, metric=metric)
    scaled, plain = call(rows.astype(np.float64) * 2.0**exponent), call(rows)
    assert scaled.recall == plain.recall
    assert torch.equal(scaled.found_at, plain.found_at)
    assert 0.1 < plain.recall[1] < 0.9


def test_a_norm_may_be_beyond_float64():
    rows = np.array([[1.0, 1.0], [1.0, 0.9], [-1.0, 1.0], [-1.0, 0.8]]) * 1.7e308
    for metric in METRICS:
        assert recall_at_k(rows, PAIRS, ks=(1,), metric=metric).recall == {1: 1.0}
    tiny = np.array([[3, 4], [5, 1], [4, 3], [1, 5]]) * 5e-324
    assert recall_at_k(tiny, [0, 1, 0, 1], ks=(1,)).recall == {1: 0.5}


@pytest.mark.parametrize("metric", METRICS)
def test_the_queries_as_an_explicit_gallery_change_nothing(metric):
    rows, labels = planted(10, 200, 8, 30, {"duplicates", "singletons"})
    one = recall_at_k(rows, labels, metric=metric)
    order = np.random.default_rng(0).permutation(200)
    ids = np.arange(200)
    other = recall_at_k(
        rows, labels, rows[order], labels[order], metric=metric,
        query_ids=ids, gallery_ids=ids[order],
    )  # fmt: skip
    assert torch.equal(one.found_at, other.found_at)
    assert (one.recall, one.optimistic) == (other.recall, other.optimistic)


@pytest.mark.parametrize("size", [128, 4096])
@pytest.mark.parametrize("half", [True, False])
def test_long_embeddings_that_hardly_differ_equal_the_oracle(size, half):
    rows, labels = planted(11, 150, size, 20, {"duplicates"})
    rows = 1 + 1e-4 * rows
    sets = [(label,) for label in labels.tolist()]
    for metric in METRICS:
        expected = oracle(rows, sets, rows, sets, np.arange(150), (1, 2, 4), metric)
        with small_pieces(64, half):
            result = recall_at_k(rows, labels, ks=(1, 2, 4), metric=metric)
        require_equal(result, expected, metric)


def test_autocast_changes_nothing():
    rows, labels = planted(12, 300, 32, 40, set())
    rows = 1 + 0.01 * rows
    expected = recall_at_k(rows, labels)
    with small_pieces(64, False), torch.autocast("cpu", dtype=torch.bfloat16):
        assert recall_at_k(rows, labels).recall == expected.recall


def test_float64_is_not_rounded_to_float32():
    rows = torch.tensor([[0.5], [0.75], [0.75 + 2**-26]], dtype=torch.float64)
    assert rows[1].float() == rows[2].float()
    assert recall_at_k(rows, [1, 1, 2], ks=(1,), metric="dot").optimistic == {1: 0.0}
    assert recall_at_k(rows, [1, 2, 1], ks=(1,), metric="dot").recall == {1: 0.5}


def test_embeddings_may_lie_in_a_file(tmp_path):
    rows, labels = planted(6, 50, 8, 5, set())
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = recall_at_k(mapped, labels)
    assert found.recall == recall_at_k(rows, labels).recall


def test_a_duplicate_is_not_taken_for_the_query_itself():
    rows = torch.eye(4)[[0, 0, 1, 1]]
    # Dropping the first of the ranking instead of the query itself would find every positive.
    result = recall_at_k(rows, [1, 2, 1, 2], ks=(1,))
    assert result.recall == {1: 0.0}


def test_labels_are_not_compared_as_float32():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.5, 0.5]])
    labels = np.array([16_777_216, 16_777_217, 16_777_216, 16_777_217, 16_777_216])
    assert recall_at_k(rows, labels, ks=(1,)).recall == {1: 0.0}


def test_a_label_set_needs_one_label_in_common():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3], [0.0, 1.0]])
    result = recall_at_k(rows, [[1, 2], [3], [2, 3], []], ks=(1, 2))
    assert result.recall == {1: 1 / 3, 2: 1.0}
    assert result.n_valid == 3
    table = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0]]) == 1
    assert recall_at_k(rows, table, ks=(1, 2)).recall == result.recall


def test_many_labels_equal_the_oracle():
    rows, labels = planted(13, 120, 4, 15, {"duplicates"})
    sets = [{label, 1000 + i % 90} for i, label in enumerate(labels.tolist())]
    expected = oracle(rows, sets, rows, sets, np.arange(120), (1, 2, 200), "l2")
    found = recall_at_k(rows, sets, ks=(1, 2, 200), metric="l2")
    require_equal(found, expected)


def test_queries_without_a_positive_are_left_out_or_count_as_misses():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    labels = [1, 1, 2, 3]
    left_out = recall_at_k(rows, labels, ks=(1,))
    assert left_out.recall == {1: 1.0}
    assert (left_out.n_valid, left_out.n_queries) == (2, 4)
    assert "2 queries have no positive and are left out" in str(left_out)
    missed = recall_at_k(rows, labels, ks=(1,), count_no_positive_as_miss=True)
    assert missed.recall == missed.optimistic == {1: 0.5}
    assert "2 queries have no positive and count as misses" in str(missed)


def test_collapsed_embeddings_get_the_pessimistic_value_and_a_warning():
    rows = torch.ones(40, 8)
    result = recall_at_k(rows, list(range(20)) * 2, ks=(1, 60))
    assert result.recall == {1: 0.0, 60: 1.0}
    assert result.optimistic[1] == 1.0
    assert any("ties decide: R@1 is 0.00" in note for note in result.notes)
    with mock.patch("kd_retrieval.recall.at_k.warn") as logged:
        again = recall_at_k(rows, list(range(20)) * 2)
    logged.assert_called_once_with(again.notes[0])
    healthy = recall_at_k(torch.eye(20)[list(range(20)) * 2], list(range(20)) * 2)
    assert healthy.notes == ()


def test_k_beyond_the_gallery_gives_all_of_it_with_a_note():
    rows, labels = planted(8, 10, 4, 3, set())
    result = recall_at_k(rows, labels, ks=(9, 10, 1000))
    assert result.recall == {9: 1.0, 10: 1.0, 1000: 1.0}
    assert "K of 10, 1000 is beyond the 9 images" in str(result)


def refuse(match, *args, error=ValueError, **options):
    with pytest.raises(error, match=match):
        recall_at_k(*args, **options)


EYE = torch.eye(4)
PAIRS = [0, 0, 1, 1]


def test_a_value_that_is_not_finite_names_its_row():
    for value in (torch.nan, torch.inf, -torch.inf):
        rows = torch.ones(9000, 2)
        rows[8000, 1] = value
        refuse("row 8000 of the queries has NaN or Inf", rows, [0] * 9000)
    gallery = torch.tensor([[1.0] * 4, [torch.nan] * 4])
    refuse("row 1 of the gallery has NaN or Inf", EYE, PAIRS, gallery, [0, 1])
    refuse("row 0 of the gallery has NaN or Inf", EYE, PAIRS, gallery.flip(0), [0, 1])


def test_a_zero_vector_has_no_direction():
    rows = EYE.clone()
    rows[2] = 0
    refuse("a zero vector has no direction, but row 2 of the queries", rows, PAIRS)
    refuse("a zero vector has no direction, but row 0 of the queries", rows[[2, 0, 1, 3]], PAIRS)
    for metric in ("l2", "dot"):
        assert recall_at_k(rows, PAIRS, metric=metric).n_valid == 4


def test_numbers_must_match():
    refuse("4 embeddings and 3 labels", EYE, [0, 0, 1])
    refuse("the gallery have 4 embeddings and 2 labels", EYE, PAIRS, EYE, [0, 1])
    refuse("must have one size and device", EYE, PAIRS, torch.eye(3), [0, 0, 1])
    refuse("query_ids must be 4, one each", EYE, PAIRS, query_ids=[1, 2, 3])
    refuse(r"embeddings \(N, D\) of a floating type", torch.ones(4), PAIRS)
    refuse(r"embeddings \(N, D\) of a floating type", EYE.long(), PAIRS)
    refuse(r"at least one, but they are torch.float32 \(0, 4\)", EYE[:0], [])


def test_labels_and_ids_must_be_integers():
    refuse("labels must be integers, but they are torch.float32", EYE, torch.zeros(4))
    refuse("labels must be integers, but they are torch.float64", EYE, np.zeros(4))
    refuse("query_ids must be integers", EYE, PAIRS, query_ids=torch.arange(4.0))
    refuse(r"query_ids must be \(N,\), but they are \(4, 1\)", EYE, PAIRS,
           query_ids=torch.arange(4)[:, None])  # fmt: skip
    refuse("labels must be integers, but they are like 'car'", EYE, ["car", "cat", "car", "cat"])
    refuse("do its rows list labels, or mark them by 1", EYE, torch.eye(4).long())
    refuse("label 3 differs from the first", EYE, [[1], [1], [2], 2])
    refuse("must both be sets where one is", EYE, [[0]] * 4, EYE[:1] + 1, [0])
    assert recall_at_k(EYE, np.array(PAIRS, dtype=np.uint32)).n_valid == 4


def test_images_in_both_sides_need_unique_ids():
    refuse("must be excluded by id, but there are no ids, and 2 queries, such as row 1",
           EYE, PAIRS, EYE[[1, 3]] * 3, [0, 1])  # fmt: skip
    refuse("there are no ids", EYE, PAIRS, EYE, PAIRS, query_ids=range(4))
    refuse("query_ids must be unique, but 1 come more than once, first 8", EYE, PAIRS,
           query_ids=[7, 8, 9, 8])  # fmt: skip
    refuse("gallery_ids must be unique", EYE, PAIRS, EYE, PAIRS, query_ids=[1, 2, 3, 4],
           gallery_ids=[1, 2, 1, 3])  # fmt: skip
    refuse("gallery_ids need a gallery", EYE, PAIRS, gallery_ids=[1, 2, 3, 4])
    refuse("gallery_labels and gallery_ids need a gallery", EYE, PAIRS, gallery_labels=PAIRS)
    refuse("a gallery needs gallery_labels", EYE, PAIRS, EYE)


def test_unknown_names_and_k_are_refused():
    refuse("metric must be one of cosine, l2, dot, but it is 'euclid'", EYE, PAIRS, metric="euclid")
    for ks in ((0,), (1, -1), (1.5,), ()):
        refuse("ks must be whole numbers from 1", EYE, PAIRS, ks=ks)


def test_no_positive_at_all_is_an_error():
    refuse("no class has two images", EYE, [0, 1, 2, 3])


@pytest.mark.parametrize("distributed", [False, True])
def test_ranks_share_the_work_where_that_is_asked_for(distributed):
    options = dict(distributed=True) if distributed else {}
    with (
        mock.patch("kd_retrieval.recall.at_k.rank_and_world", lambda: (1, 2)),
        mock.patch.object(RankCounter, "best_positives", side_effect=ValueError("enough")) as asked,
    ):
        refuse("enough", EYE, PAIRS, **options)
    assert asked.call_args.args == ((1, 2) if distributed else (0, 1))


def test_the_smallest_and_the_largest_id_are_found_too():
    found = _same_id(torch.tensor([5, 9, 1, 0, 10, 6]), torch.tensor([9, 1, 5]))
    assert found.tolist() == [2, 0, 1, -1, -1, -1]
