"""The same images embedded twice, without ids: a note, and no note on anything else."""

import logging

import numpy as np
import pytest
import torch

from kd_retrieval import recall_at_k
from kd_retrieval.recall.knn import ranking_scores

METRICS = ("cosine", "l2", "dot")
SEEN = "seem to be the queries themselves"


def noise(seed, rows=300, size=32):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, size))).float()


LABELS = torch.arange(300) % 50


def half(rows):
    return rows.half().float()


@pytest.fixture
def logged(caplog):
    """The warnings that are logged."""
    return caplog


def notes(*sides, **options):
    return " ".join(recall_at_k(*sides, ks=(1,), **options).notes)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_through_float16_as_the_gallery_are_said(metric):
    """Of noise with 50 classes about one query in 50 finds its class; here all find themselves."""
    rows = noise(0)
    sides, options = (rows, LABELS, half(rows), LABELS), dict(metric=metric)
    found = recall_at_k(*sides, ks=(1,), **options)
    assert found.recall[1] > (0.9 if metric == "dot" else 0.99)
    assert SEEN in " ".join(found.notes) and "Give query_ids and gallery_ids" in str(found)
    ids = dict(query_ids=np.arange(300), gallery_ids=np.arange(300))
    honest = recall_at_k(*sides, ks=(1,), **options, **ids)
    assert honest.recall[1] < 0.1 and honest.notes == ()


@pytest.mark.parametrize("scale", [1e-30, 1e6])
@pytest.mark.parametrize("metric", METRICS)
def test_the_length_of_vectors_does_not_matter(metric, scale):
    rows = noise(1).double() * scale
    error = 1e-3 * noise(2).double() * scale
    assert SEEN in notes(rows, LABELS, rows + error, LABELS, metric=metric)


@pytest.mark.parametrize("several", [False, True])
def test_rows_in_another_order_and_sets_of_labels_are_seen_too(several):
    rows, order = noise(3), torch.from_numpy(np.random.default_rng(3).permutation(300))
    labels = [[int(x), 50 + int(x) % 7] for x in LABELS] if several else LABELS
    shuffled = [labels[i] for i in order] if several else LABELS[order]
    assert SEEN in notes(rows, labels, half(rows)[order], shuffled)


@pytest.mark.parametrize(("copied", "said"), [(150, ""), (151, "50 % of"), (170, "57 % of")])
def test_most_of_the_queries_must_be_copies(copied, said, logged):
    rows = noise(4)
    sides = rows, LABELS, torch.cat([half(rows[:copied]), noise(5)[copied:]]), LABELS
    assert notes(*sides)[:7] == said[:7]
    logged.clear()
    ranking_scores(*sides)  # it looks at a sample: 256 of the 300
    assert copied < 170 or logged.messages[0].startswith("56 % of")


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257])
def test_classes_of_one_image_and_any_number_of_queries(count, logged):
    """The one positive is the query itself, so there is no next one to compare with."""
    rows = noise(20, rows=count)
    sides = rows, torch.arange(count), half(rows), torch.arange(count)
    assert notes(*sides).startswith("100 % of")
    logged.clear()
    ranking_scores(*sides)
    assert logged.messages[0].startswith("100 % of")


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
def test_each_of_a_few_queries_counts(order):
    """Two of three queries are copies; the third lies close to its whole class."""
    rows, order = noise(21, rows=3), torch.tensor(order)
    gallery = torch.cat([half(rows[:2]), rows[2:] + 1e-3 * noise(22, rows=4)])
    labels = torch.tensor([0, 1, 2, 2, 2, 2])
    assert notes(rows[order], labels[:3][order], gallery, labels).startswith("67 % of")


def test_queries_without_a_positive_do_not_count(logged):
    rows = noise(23)
    beyond = LABELS + 1000 * (torch.arange(300) > 20)
    ranking_scores(rows, beyond, half(rows), LABELS)
    assert logged.messages[0].startswith("100 % of")


@pytest.mark.parametrize("cosine", [0.9985, 0.9995])
@pytest.mark.parametrize("metric", METRICS)
def test_the_limit_is_a_cosine_of_0_999(metric, cosine):
    rows = torch.nn.functional.normalize(noise(24).double())
    across = torch.nn.functional.normalize(noise(25).double())
    across = torch.nn.functional.normalize(across - (across * rows).sum(1, True) * rows)
    turned = cosine * rows + (1 - cosine**2) ** 0.5 * across
    assert (SEEN in notes(rows, LABELS, turned, LABELS, metric=metric)) == (cosine > 0.999)


@pytest.mark.parametrize(("ratio", "said"), [(9.0, False), (11.0, True)])
def test_the_next_positive_must_be_ten_times_as_far(ratio, said):
    rows = noise(26).double()
    error = noise(27).double()
    error -= (error * rows).sum(1, True) / rows.square().sum(1, True) * rows
    error *= 1e-2 * rows.norm(dim=1, keepdim=True) / error.norm(dim=1, keepdim=True)
    gallery = torch.cat([rows + error, rows - ratio**0.5 * error])
    labels = torch.arange(300)
    assert (SEEN in notes(rows, labels, gallery, labels.repeat(2))) == said


@pytest.mark.parametrize("metric", METRICS)
def test_good_data_is_not_suspected(metric):
    centers = 4 * noise(6)[LABELS]
    tight = [centers + 0.05 * noise(seed) for seed in (7, 8)]  # every positive is above 0.999
    assert torch.cosine_similarity(*tight).min() > 0.999
    for queries, gallery in (tight, (noise(9), noise(10)), (noise(11, size=2), noise(12, size=2))):
        assert SEEN not in notes(queries, LABELS, gallery, LABELS, metric=metric)


def test_a_copy_of_another_class_is_a_negative_and_none_is_missed_among_queries_without_positive():
    rows = noise(13)
    assert SEEN not in notes(rows, LABELS, half(rows), LABELS.flip(0))
    beyond = LABELS + 1000 * (torch.arange(300) > 20)  # most queries have no positive at all
    assert SEEN in notes(rows, beyond, half(rows), LABELS)


def test_without_a_gallery_nothing_is_said():
    rows = noise(14, rows=150)
    assert SEEN not in notes(torch.cat([rows, half(rows)]), torch.cat([LABELS[:150]] * 2))


def test_a_warning_is_logged(logged):
    rows = noise(15)
    for measure in (recall_at_k, ranking_scores):
        measure(rows, LABELS, half(rows), LABELS)
        (record,) = logged.records
        assert SEEN in record.message and record.levelno == logging.WARNING
        logged.clear()
        ids = dict(query_ids=np.arange(300), gallery_ids=np.arange(300))
        measure(rows, LABELS, half(rows), LABELS, **ids)
        assert not logged.records


def test_half_of_the_queries_are_not_most():
    """Of four, three have a positive near enough to look at, and two of these are copies."""
    rows = noise(28, rows=4)
    gallery = torch.cat([half(rows[:2]), rows[2:3] + 1e-3 * noise(29, rows=4), noise(30, rows=1)])
    assert notes(rows, [0, 1, 2, 3], gallery, [0, 1, 2, 2, 2, 2, 3]) == ""


def test_large_classes_are_looked_at_in_parts(monkeypatch):
    monkeypatch.setattr("kd_retrieval.recall.near_copies._CHUNK", 3)
    rows = noise(31, rows=40)
    for order in (torch.arange(40), torch.arange(40).flip(0)):
        assert notes(rows, [7] * 40, half(rows)[order], [7] * 40).startswith("100 % of")


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("copied", [0, 150])
def test_it_costs_nothing_where_at_most_half_have_a_near_positive(monkeypatch, copied, metric):
    def fail(*_):
        raise AssertionError("looked at rows")

    monkeypatch.setattr("kd_retrieval.recall.near_copies._two_nearest", fail)
    rows = noise(16)
    gallery = torch.cat([half(rows[:copied]), noise(17)[copied:]])
    notes(rows, LABELS, gallery, LABELS, metric=metric)
    with pytest.raises(AssertionError, match="looked at rows"):
        notes(rows, LABELS, half(rows), LABELS, metric=metric)
