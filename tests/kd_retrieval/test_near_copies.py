"""The same images embedded twice, without ids: said, and said of nothing else."""

import logging

import numpy as np
import pytest
import torch

from kd_retrieval import recall_at_k
from kd_retrieval.neighbours import ranking_scores

METRICS = ("cosine", "l2", "dot")
BACKENDS = ("torch", "faiss")
SEEN = "seem to be the queries themselves"


def noise(seed, rows=300, size=32):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, size))).float()


LABELS = torch.arange(300) % 50


def half(rows):
    return rows.half().float()


def notes(*sides, **options):
    return " ".join(recall_at_k(*sides, ks=(1,), **options).notes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
def test_queries_through_float16_as_the_gallery_are_said(metric, backend):
    """Of noise with 50 classes about one query in 50 finds its class; here all find themselves."""
    rows = noise(0)
    sides, options = (rows, LABELS, half(rows), LABELS), dict(metric=metric, backend=backend)
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


def test_most_of_the_queries_must_be_copies():
    rows = noise(4)
    for copied, said in ((130, False), (170, True)):
        gallery = torch.cat([half(rows[:copied]), noise(5)[copied:]])
        assert (SEEN in notes(rows, LABELS, gallery, LABELS)) == said


@pytest.mark.parametrize("metric", METRICS)
def test_good_data_is_not_suspected(metric):
    centres = 4 * noise(6)[LABELS]
    tight = [centres + 0.05 * noise(seed) for seed in (7, 8)]  # every positive is above 0.999
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


def test_a_warning_is_logged(monkeypatch):
    logged = []
    monkeypatch.setattr(
        "kd_retrieval.near_copies.print_log", lambda text, _, level: logged.append((text, level))
    )
    rows = noise(15)
    for measure in (recall_at_k, ranking_scores):
        measure(rows, LABELS, half(rows), LABELS)
        assert SEEN in logged[0][0] and logged.pop()[1] == logging.WARNING and not logged
        ids = dict(query_ids=np.arange(300), gallery_ids=np.arange(300))
        measure(rows, LABELS, half(rows), LABELS, **ids)
        assert not logged


def test_it_costs_nothing_where_no_positive_is_near(monkeypatch):
    def fail(*_):
        raise AssertionError("looked at rows")

    monkeypatch.setattr("kd_retrieval.near_copies._two_nearest", fail)
    notes(noise(16), LABELS, noise(17), LABELS)
