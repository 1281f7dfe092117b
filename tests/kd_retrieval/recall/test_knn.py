import math
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from kd_retrieval.recall.at_k import recall_at_k
from kd_retrieval.recall.knn import map_at_r, nearest, r_precision, ranking_scores

METRICS = ("cosine", "l2", "dot")


def planted(count=500, size=6, classes=25):
    """Clusters, with duplicates of some rows."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=count)
    rows = rng.normal(size=(count, size)) + rng.normal(size=(classes, size))[labels]
    rows[: count // 5] = rows[-(count // 5) :]
    rows[40:90] = rows[40]  # more of them than are fetched in excess
    return torch.from_numpy(rows.astype(np.float32)), labels


def all_similarities(queries, gallery, metric):
    """In float64, rounded so that ties of duplicates are ties."""
    queries, gallery = queries.double(), gallery.double()
    if metric == "cosine":
        queries, gallery = (torch.nn.functional.normalize(side) for side in (queries, gallery))
    values = queries @ gallery.T
    if metric == "l2":
        values = 2 * values - queries.square().sum(1)[:, None] - gallery.square().sum(1)
    return values


@pytest.fixture(params=["few", "all"])
def dense(request):
    """Take neighbors from FAISS and from full products."""
    with (
        mock.patch("kd_retrieval.recall.knn._DENSE", {"few": 0, "all": 10**6}[request.param]),
        mock.patch("kd_retrieval.recall.knn._CHUNK", 64),
    ):
        yield


@pytest.mark.parametrize("metric", METRICS)
def test_nearest_are_those_of_a_full_ranking(metric, dense):
    rows, _ = planted()
    found = nearest(3 * rows, k=7, metric=metric)
    values = all_similarities(3 * rows, 3 * rows, metric)
    at_rows = values.gather(1, found.rows)
    values.fill_diagonal_(-math.inf)
    expected = values.sort(dim=1, descending=True).values[:, :7]
    assert torch.allclose(found.scores, expected, rtol=0, atol=1e-4)
    assert torch.allclose(found.scores, at_rows, rtol=0, atol=1e-4)
    assert not (found.rows == torch.arange(500)[:, None]).any()
    assert found.scores.diff(dim=1).le(0).all()
    level = found.scores.diff(dim=1) == 0  # in the order of the gallery
    assert level.any()
    assert found.rows.diff(dim=1)[level].gt(0).all()


def test_the_query_is_left_out_by_id_not_by_place(dense):
    rows = torch.eye(12)[[0, 0, 1, 0, 2]]
    found = nearest(rows[[3, 4]], rows, k=3, query_ids=[13, 99], gallery_ids=[10, 11, 12, 13, 14])
    assert found.rows.tolist() == [[0, 1, 2], [4, 0, 1]]
    assert found.scores.tolist() == [[1, 1, 0], [1, 0, 0]]


def test_what_is_missing_is_marked(dense):
    found = nearest(torch.eye(3), k=5)
    assert found.rows[:, 2:].eq(-1).all()
    assert found.scores[:, 2:].eq(-math.inf).all()
    assert found.rows[:, :2].tolist() == [[1, 2], [0, 2], [0, 1]]


def test_similarities_are_in_the_unit_of_the_embeddings():
    rows = np.array([[300.0, 0.0], [0.0, 400.0], [0.0, 0.0]])
    assert nearest(rows, k=2, metric="l2").scores.tolist() == [
        [-90_000, -250_000], [-160_000, -250_000], [-90_000, -160_000]
    ]  # fmt: skip
    assert nearest(rows[:1], rows[:1] * 2, k=1, metric="dot").scores.item() == 180_000
    assert nearest(torch.zeros(2, 2), k=1, metric="l2").scores.tolist() == [[0], [0]]


def test_equal_rows_on_two_sides_need_ids():
    with pytest.raises(ValueError, match="there are no ids"):
        nearest(torch.eye(3), torch.eye(3), k=1)
    with pytest.raises(ValueError, match="ks must be whole numbers from 1"):
        nearest(torch.eye(3), k=0)
    with pytest.raises(ValueError, match="row 1 of the queries has NaN"):
        nearest(torch.tensor([[1.0], [torch.nan]]), k=1)


@pytest.mark.parametrize(
    ("metric", "distance"),
    [("cosine", CosineSimilarity()), ("l2", LpDistance(normalize_embeddings=False))],
)
def test_scores_equal_pytorch_metric_learning(metric, distance, dense):
    rng = np.random.default_rng(1)
    labels = rng.integers(30, size=400) ** 2 // 30  # classes of many sizes
    rows = rng.normal(size=(400, 8)) + 0.8 * rng.normal(size=(31, 8))[labels]
    rows, labels = torch.from_numpy(rows).float(), torch.from_numpy(labels)
    calculator = AccuracyCalculator(
        include=("r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(distance),
    )
    for gallery in ([], [rows[:250], labels[:250]]):
        parts = (rows[250:], labels[250:]) if gallery else (rows, labels)
        theirs = calculator.get_accuracy(*parts, *gallery)
        ours = ranking_scores(*parts, *gallery, metric=metric)
        assert ours.map_at_r == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-12)
        assert ours.r_precision == pytest.approx(theirs["r_precision"], abs=1e-12)
        assert 0.1 < ours.map_at_r < ours.r_precision < 0.9


def test_scores_by_hand(dense):
    rows = torch.tensor([[0.0], [1.0], [3.0], [7.0], [15.0]])
    labels = [0, 1, 0, 0, 5]
    # From 0: 1 no, 3 yes. From 3: 1 no, 0 yes. From 7: 3 yes, 1 no. The others have no positive.
    scores = ranking_scores(rows, labels, metric="l2")
    assert (scores.n_valid, scores.n_queries) == (3, 5)
    assert scores.r_precision == pytest.approx(Fraction(1, 2))
    assert scores.map_at_r == pytest.approx(Fraction(1, 3))
    assert map_at_r(rows, labels, metric="l2") == scores.map_at_r
    assert r_precision(rows, labels, metric="l2") == scores.r_precision


def test_ties_count_against_the_model(dense):
    scores = ranking_scores(torch.ones(40, 3), [0, 1] * 20)
    assert (scores.map_at_r, scores.r_precision) == (0.0, 0.0)
    rows, labels = planted()
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    one, other = ranking_scores(rows, labels), ranking_scores(rows[order], labels[order.numpy()])
    assert one == other


def test_scores_of_label_sets_and_ids(dense):
    rows = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    sets = [[1], [2], [1, 2], [3]]
    # From 0: R = 1, 1 no. From 1: R = 1, 0 no. From 3: R = 2, 1 yes, 0 yes.
    scores = ranking_scores(rows, sets, metric="l2")
    assert (scores.map_at_r, scores.r_precision, scores.n_valid) == (1 / 3, 1 / 3, 3)
    same = ranking_scores(
        rows, sets, rows, sets, query_ids=[1, 2, 3, 4], gallery_ids=[1, 2, 3, 4], metric="l2"
    )
    assert same == scores


def test_no_positive_at_all_is_an_error():
    with pytest.raises(ValueError, match=r"MAP@R needs a query with a positive"):
        ranking_scores(torch.eye(3), [0, 1, 2])


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_neighbors_by_faiss_and_counted_recall_agree_at_every_k(metric):
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(40, (300,), generator=generator)
    rows = torch.randn(40, 6, generator=generator)[labels]
    rows += torch.randn(300, 6, generator=generator)
    rows[200:270] = rows[:70]  # many ties
    ks = (1, 2, 5, 30, 299)
    found = nearest(rows, k=299, metric=metric)
    right = labels[found.rows] == labels[:, None]
    best = found.scores.masked_fill(~right, -math.inf).amax(dim=1, keepdim=True)
    before = (~right & (found.scores >= best)).sum(dim=1)[right.any(dim=1)]
    shares = {k: int((before < k).sum()) / len(before) for k in ks}
    assert recall_at_k(rows, labels, ks=ks, metric=metric).recall == shares
    assert 0.05 < shares[1] < shares[30] < 1
