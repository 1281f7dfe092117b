import numpy as np
import pytest
import torch

from benchmarks.measure import peak_bytes
from kd_retrieval.recall import labels as positives
from kd_retrieval.recall.labels import ClassLabels, LabelSets, is_sets, label_tables

EVERYTHING = slice(None)


def drawn(count, labels, seed):
    """Sets of 0 to 5 labels."""
    rng = np.random.default_rng(seed)
    return [set(rng.integers(labels, size=rng.integers(6)).tolist()) for _ in range(count)]


@pytest.mark.parametrize("labels", [3, 64, 65, 500])
@pytest.mark.parametrize("cells", [1, 2**20])
def test_sets_share_a_label_as_sets_of_python_do(labels, cells, monkeypatch):
    monkeypatch.setattr(positives, "_CELLS", cells)
    one, other = drawn(40, labels, 0), drawn(30, labels, 1)
    expected = torch.tensor([[bool(a & b) for b in other] for a in one])
    assert expected.any() and not expected.all()
    compared = LabelSets(*label_tables(one, other))
    assert torch.equal(compared.same(EVERYTHING, EVERYTHING), expected)
    assert torch.equal(compared.same(slice(3, 9), slice(7, 8)), expected[3:9, 7:8])
    rows, columns = torch.cartesian_prod(torch.arange(40), torch.arange(30)).T
    assert torch.equal(compared.same_pairs(rows, columns), expected.flatten())
    assert len(compared.same_pairs(rows[:0], columns[:0])) == 0


def test_each_of_many_labels_is_told_from_the_others():
    alone = [{number} for number in range(200)]
    compared = LabelSets(*label_tables(alone, alone))
    assert torch.equal(compared.same(EVERYTHING, EVERYTHING), torch.eye(200).bool())
    assert compared.queries.shape == (200, 4)


@pytest.mark.parametrize(
    "labels",
    [
        [["cat", "dog"], ("car",), {"dog"}],
        [np.array([1, 2]), np.array([3]), np.array([2])],
        [torch.tensor([1, 2]), torch.tensor([3]), torch.tensor([2, 2])],
        torch.tensor([[1, 1, 0], [0, 0, 1], [0, 1, 0]]) == 1,
        np.array([[1, 1, 0], [0, 0, 1], [0, 1, 0]]) == 1,
    ],
    ids=["text", "arrays", "tensors", "table of torch", "table of numpy"],
)
def test_sets_may_come_in_any_form(labels):
    assert is_sets(labels)
    (table,) = label_tables(labels)
    shared = LabelSets(table, table).same(EVERYTHING, EVERYTHING)
    assert shared.tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_single_labels_are_no_sets():
    for labels in ([1, 2], torch.arange(2), np.arange(2), range(2), [], ["cat", "car"]):
        assert not is_sets(labels)
    assert not is_sets([torch.tensor(1), np.int64(2)])


def test_what_may_be_read_in_two_ways_is_refused():
    for table in (torch.eye(3, dtype=torch.int64), np.eye(3, dtype=int)):
        with pytest.raises(ValueError, match="do its rows list labels, or mark them by 1"):
            is_sets(table)
    with pytest.raises(ValueError, match="all single or all sets, but label 2 differs"):
        is_sets([{1}, [2], 3])
    with pytest.raises(ValueError, match="must both be sets where one is, but one is 4"):
        label_tables([{1}], [4])


def test_a_table_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(positives, "_MAX_WORDS", 5)
    assert label_tables([{i} for i in range(5)])[0].shape == (5, 1)
    with pytest.raises(ValueError, match="sets of labels need 8 bytes for each image"):
        label_tables([{1}] * 3, [{2}] * 3)
    with pytest.raises(ValueError, match="sets of labels need 24 bytes for each image"):
        label_tables([set(range(130))] * 2)  # 3 words of 64 bits each


def test_many_labels_take_no_more_memory_than_few():
    sets = LabelSets(*[torch.ones(2000, 100, dtype=torch.int64)] * 2)  # 6,400 labels
    pairs = torch.arange(300_000) % 2000
    assert peak_bytes(lambda: sets.same_pairs(pairs, pairs), torch.device("cpu")) < 50e6
    tile = slice(128), slice(2000)
    assert peak_bytes(lambda: sets.same(*tile), torch.device("cpu")) < 50e6


def test_a_class_is_looked_for_where_it_lies():
    compared = ClassLabels(torch.tensor([1, 1, 4, 6]), torch.tensor([0, 1, 1, 2, 4, 4, 5]))
    assert compared.columns_of(slice(0, 2)) == (1, 3)
    assert compared.columns_of(slice(1, 3)) == (1, 6)
    assert compared.columns_of(slice(3, 4)) == (7, 7)
    assert compared.same(slice(2, 3), slice(3, 7)).tolist() == [[False, True, True, False]]
    assert compared.same_pairs(torch.tensor([0, 3]), torch.tensor([2, 6])).tolist() == [True, False]
