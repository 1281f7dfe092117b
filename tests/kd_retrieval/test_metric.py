"""Recall@K in mmengine's Runner: roles, copies, stored galleries, bad embeddings."""

import random
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from kd_retrieval import RecallMetric, recall_at_k
from kd_retrieval.datasets import BOTH, GALLERY, QUERY
from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings, write_embeddings

# Angles of unit vectors: the nearest neighbor of each is the one before or behind it.
ANGLES = [0.0, 0.1, 0.3, 1.0, 1.1, 1.35]
LABELS = [0, 1, 0, 2, 2, 1]


def predictions(angles=ANGLES, labels=LABELS, roles=None):
    vectors = torch.tensor([[np.cos(angle), np.sin(angle)] for angle in angles])
    roles = roles or [BOTH] * len(angles)
    return [
        dict(embedding=vector, label=label, id=10 + row, role=role)
        for row, (vector, label, role) in enumerate(zip(vectors, labels, roles, strict=True))
    ]


def measure(samples, metric=None, size=None):
    metric = metric or RecallMetric(ks=(1, 2))
    for start in range(0, len(samples), 4):
        metric.process(None, samples[start : start + 4])
    return metric.evaluate(len(samples) if size is None else size)


def gallery(path, angles=ANGLES, labels=LABELS, names=("a", "b", "c"), roles=None, first=10):
    count = len(angles)
    rows = Embeddings(
        vectors=np.array([[np.cos(x), np.sin(x)] for x in angles], dtype=np.float32),
        labels=np.array(labels, np.int64),
        ids=np.arange(first, first + count),
        roles=np.zeros(count, np.int64) if roles is None else np.array(roles, np.int64),
        paths=tuple(map(str, range(count))),
        class_names=names,
        key=EmbeddingKey(),
    )
    write_embeddings(path, rows)
    return str(path)


def test_by_hand():
    # Nearest: 11, 10, 11, 14, 13, 14. Second: 12, 12, 10, 15, 15, 13.
    values = measure(predictions())
    assert values == {
        "recall/R@1": pytest.approx(100 * 2 / 6),
        "recall/R@2": pytest.approx(100 * 4 / 6),
        "recall/valid_queries": 6.0,
        "recall/queries": 6.0,
    }


def test_it_is_recall_at_k_in_percent_in_any_order():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(60, 5)).astype(np.float32), rng.integers(9, size=60)
    samples = [
        dict(embedding=torch.from_numpy(row), label=int(label), id=int(3 * i), role=BOTH)
        for i, (row, label) in enumerate(zip(vectors, labels, strict=True))
    ]
    for distance in ("cosine", "l2", "dot"):
        expected = recall_at_k(vectors, labels, ks=(1, 5), metric=distance)
        random.Random(0).shuffle(samples)
        found = measure(samples, RecallMetric((1, 5), distance))
        assert {k: found[f"recall/R@{k}"] for k in (1, 5)} == {
            k: 100 * share for k, share in expected.recall.items()
        }


def test_a_samplers_copies_are_left_out():
    samples = predictions()
    assert measure([*samples, *samples[:2]], size=6) == measure(samples)
    with pytest.raises(ValueError, match="has 8 images, but 6 different ids were embedded"):
        measure([*samples, *samples[:2]])
    with pytest.raises(ValueError, match="has 6 images, but 0 different ids"):
        RecallMetric().evaluate(6)


def test_each_evaluation_starts_anew():
    metric = RecallMetric(ks=(1, 2))
    measure(predictions(), metric)
    later = predictions(angles=[0.0, 1.0, 0.1, 2.0, 2.1, 1.1])
    values = measure(later, metric)
    assert values["recall/R@1"] == 100


def test_queries_search_the_gallery_alone():
    # Query 10 (class 0) finds 12, query 15 (class 1) finds 14 and then 13: no image of class 1.
    roles = [QUERY, QUERY, GALLERY, GALLERY, GALLERY, QUERY]
    values = measure(predictions(roles=roles))
    assert values["recall/queries"] == 3 and values["recall/valid_queries"] == 1
    assert values["recall/R@1"] == 100
    # With 11 in the gallery as well, 10 finds it first; 11 and 15 have a positive now.
    roles[1] = BOTH
    values = measure(predictions(roles=roles))
    assert values["recall/valid_queries"] == 2 and values["recall/queries"] == 3
    assert values["recall/R@1"] == 0 and values["recall/R@2"] == 50


def test_several_labels_an_image():
    several = [[0], [1, 0], [0], [2], [2], [1, 2]]
    values = measure(predictions(labels=several))
    assert values["recall/R@1"] == 100
    assert measure(predictions(labels=[(0,), (1,), (0,), (2,), (2,), (1,)])) == measure(
        predictions()
    )


def test_map_at_r_and_r_precision():
    # R is 1 for all: both are the share of right nearest neighbors.
    values = measure(predictions(), RecallMetric((1,), map_at_r=True))
    assert values["recall/MAP@R"] == values["recall/R-precision"] == pytest.approx(100 * 2 / 6)
    # Class 0 has three images: 0.0 finds (0.1 wrong, 0.3 right), R = 2: 1/2 (1/2) and 1/2.
    labels = [0, 1, 0, 0, 2, 2]
    values = measure(predictions(labels=labels), RecallMetric((1,), map_at_r=True))
    # 10: 11 x, 12 right. 12: 11 x, 10 right. 13: 14 x, 15 x. 14: 13 x. 15: 14 right. 11: none.
    assert values["recall/MAP@R"] == pytest.approx(100 * (0.25 + 0.25 + 0 + 0 + 1) / 5)
    assert values["recall/R-precision"] == pytest.approx(100 * (0.5 + 0.5 + 0 + 0 + 1) / 5)
    assert values["recall/valid_queries"] == 5 and values["recall/queries"] == 6


def test_map_at_r_over_a_gallery():
    roles = [QUERY, QUERY, GALLERY, GALLERY, GALLERY, QUERY]
    values = measure(predictions(roles=roles), RecallMetric((1,), map_at_r=True))
    assert values["recall/MAP@R"] == 100


def test_a_stored_gallery_is_searched(tmp_path):
    """The teacher turns every vector by 1.0: students find what lies there, but not themselves."""
    turned = gallery(tmp_path / "g.npz", [angle + 1.0 for angle in ANGLES])
    values = measure(predictions(), RecallMetric((1, 2), gallery=turned))
    expected = recall_at_k(
        torch.stack([one["embedding"] for one in predictions()]), LABELS,
        torch.tensor([[np.cos(a + 1), np.sin(a + 1)] for a in ANGLES]), LABELS,
        ks=(1, 2), query_ids=np.arange(10, 16), gallery_ids=np.arange(10, 16),
    )  # fmt: skip
    assert values["asymmetric/R@1"] == 100 * expected.recall[1]
    same = measure(predictions(), RecallMetric((1, 2), gallery=gallery(tmp_path / "s.npz")))
    assert same["asymmetric/R@1"] == measure(predictions())["recall/R@1"]
    assert same["asymmetric/R@1"] != values["asymmetric/R@1"]


def test_a_gallery_beside_the_models_own(tmp_path):
    stored = gallery(tmp_path / "g.npz")
    evaluator = Evaluator([RecallMetric((1,)), RecallMetric((1,), gallery=stored)])
    evaluator.dataset_meta = dict(classes=("a", "b", "c"))
    evaluator.process(predictions())
    values = evaluator.evaluate(6)
    assert values["recall/R@1"] == values["asymmetric/R@1"] == pytest.approx(100 * 2 / 6)


def test_classes_of_a_gallery_go_by_name(tmp_path):
    names = ("z", "c", "b", "a")
    numbers = [3 - label for label in LABELS]
    metric = RecallMetric((1, 2), gallery=gallery(tmp_path / "g.npz", labels=numbers, names=names))
    metric.dataset_meta = dict(classes=("a", "b", "c"))
    values = measure(predictions(), metric)
    assert values["asymmetric/R@1"] == pytest.approx(100 * 2 / 6)
    metric.dataset_meta = dict(classes=("x", "y"))
    with pytest.raises(ValueError, match="classes in common, but .* has z, c, b, a... .* x, y"):
        measure(predictions(), metric)
    # A class that the queries do not have is never theirs, whatever its number.
    metric.dataset_meta = dict(classes=("a", "q", "c"))
    with pytest.raises(ValueError, match="6 ids .* 2 have two classes, first id 11"):
        measure(predictions(), metric)


def test_queries_of_a_stored_gallery_are_not_searched(tmp_path):
    # Without 11 and 14, 10 and 12 find each other and 13 and 15 each other's class: not.
    roles = [GALLERY, QUERY, BOTH, GALLERY, QUERY, GALLERY]
    metric = RecallMetric((1,), gallery=gallery(tmp_path / "g.npz", roles=roles))
    values = measure(predictions(), metric)
    # Valid: 10, 12 (class 0), 11 (15 is there), 14 (13 is there); not 13 and 15.
    assert values["asymmetric/valid_queries"] == 4
    assert values["asymmetric/R@1"] == pytest.approx(100 * 3 / 4)  # 11 finds 10


def test_a_gallery_of_other_data_is_refused(tmp_path):
    wrong = RecallMetric((1,), gallery=gallery(tmp_path / "g.npz", first=11))
    with pytest.raises(ValueError, match="5 ids .* have, 4 have two classes, first id 11"):
        measure(predictions(), wrong)
    other = RecallMetric((1,), gallery=gallery(tmp_path / "h.npz", first=100))
    assert measure(predictions(), other)["asymmetric/R@1"] == 100  # copies under other ids
    with pytest.raises(FileNotFoundError, match="there are no embeddings none.npz"):
        RecallMetric(gallery="none.npz")


def test_a_gallery_of_another_size_is_refused(tmp_path):
    metric = RecallMetric(gallery=gallery(tmp_path / "g.npz"))
    samples = [dict(one, embedding=torch.ones(5)) for one in predictions()]
    with pytest.raises(ValueError, match="model's have 5 numbers and those of .*g.npz 2. Set"):
        measure(samples, metric)


def test_embeddings_that_are_not_finite_name_their_images():
    samples = predictions()
    for row, value in ((1, float("nan")), (4, float("inf"))):
        samples[row] = dict(samples[row], embedding=torch.tensor([1.0, value]))
    with pytest.raises(ValueError, match=r"finite, but 2 \(id 11, 14\) of 6 images have NaN"):
        measure(samples)


def test_a_vector_of_zeros_names_its_image():
    samples = predictions()
    samples[3] = dict(samples[3], embedding=torch.zeros(2))
    with pytest.raises(ValueError, match=r"must not be zero, but 1 \(id 13\) of 6 images"):
        measure(samples)
    assert "recall/R@1" in measure(samples, RecallMetric(distance="l2"))


def test_no_positive_at_all():
    with pytest.raises(ValueError, match="none has one: no class has two images"):
        measure(predictions(labels=list(range(6))))


def logged(samples, metric):
    lines = []
    with mock.patch("kd_retrieval.metric.print_log", lambda text, *_: lines.append(text)):
        values = measure(samples, metric)
    return values, "\n".join(lines)


def test_the_log_says_what_the_numbers_rest_on():
    _, text = logged(predictions(labels=[0, 1, 0, 2, 2, 3]), RecallMetric((1, 9)))
    assert "R@1 50.00, R@9 100.00 (4 of 6 queries have a positive among 6 images)" in text
    assert "2 queries have no positive and are left out" in text
    assert "K of 9 is beyond the 5 images that a query can find" in text


def test_a_collapsed_model_scores_nothing():
    values, text = logged(predictions(angles=[0.5] * 6), RecallMetric((1,)))
    assert values["recall/R@1"] == 0
    assert "R@1 is 0.00 if they count against the model and 100.00" in text


def test_half_precision_is_measured_in_float32():
    samples = [dict(one, embedding=one["embedding"].bfloat16()) for one in predictions()]
    metric = RecallMetric((1,))
    metric.process(None, samples)
    assert all(sample[0].dtype == torch.float32 for sample in metric.results)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(ks=0), "whole numbers from 1"),
        (dict(ks=()), "whole numbers from 1"),
        (dict(distance="cosin"), "one of cosine, l2, dot, but it is 'cosin'"),
    ],
)
def test_wrong_settings_fail_before_training(settings, message):
    with pytest.raises(ValueError, match=message):
        RecallMetric(**settings)


def test_one_k_needs_no_list():
    assert set(measure(predictions(), RecallMetric(1))) == {
        "recall/R@1", "recall/valid_queries", "recall/queries",
    }  # fmt: skip
