"""Batches of several images of each of their classes."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from kd_retrieval.sampler import MPerClassBatchSampler

LABELS = np.array([0] * 1 + [1] * 2 + [2] * 3 + [3] * 9 + [4] * 4 + [5] * 4 + [6] * 30)


class Toy(Dataset):
    """Rows that carry their index and label."""

    metainfo: dict = {}

    def __init__(self, labels=LABELS):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return dict(inputs=np.float32(index), labels=int(self.labels[index]))


def batches(batch_size=6, each=2, num_batches=None, labels=LABELS, **where):
    state = dict(seed=3, epoch=0, world_size=1, rank=0, dataset=Toy(labels)) | where
    return list(MPerClassBatchSampler(SimpleNamespace(**state), batch_size, each, num_batches))


def classes(batch, each):
    return [LABELS[batch[start]] for start in range(0, len(batch), each)]


@pytest.mark.parametrize(("batch_size", "each"), [(6, 2), (12, 4), (8, 8), (7, 1), (10, 2)])
def test_a_batch_has_whole_classes_each_of_them_once(batch_size, each):
    for batch in batches(batch_size, each, 40):
        assert len(batch) == batch_size
        assert sorted(Counter(LABELS[batch]).values()) == [each] * (batch_size // each)


@pytest.mark.parametrize("batch_size", [2, 6, 10, 14])
def test_every_class_comes_before_any_comes_again(batch_size):
    seen = Counter()
    for batch in batches(batch_size, 2, 50):
        seen.update(classes(batch, 2))
        counts = [seen[label] for label in range(7)]
        assert max(counts) - min(counts) <= 2  # a batch may hold the end and start of a round
    assert max(counts) - min(counts) <= 1


def test_an_epoch_covers_every_class():
    for epoch in range(20):
        assert {LABELS[i] for batch in batches(epoch=epoch) for i in batch} == set(range(7))
    many = np.arange(50)  # one image a class: fewer images than a class needs
    assert {i for batch in batches(6, 2, labels=many) for i in batch} == set(range(50))


def test_images_of_a_class_come_before_any_comes_again():
    seen = Counter(i for batch in batches(14, 2, 45) for i in batch)
    for label in range(7):
        counts = [seen[i] for i in np.flatnonzero(LABELS == label)]
        assert sum(counts) == 90 and max(counts) - min(counts) <= 1


def test_a_small_class_repeats_and_a_large_one_does_not():
    for batch in batches(28, 4, 20):
        for label, wanted in ((0, 1), (1, 2), (2, 3), (3, 4), (5, 4), (6, 4)):
            images = [i for i in batch if LABELS[i] == label]
            assert len(images) == 4 and len(set(images)) == wanted


def test_the_number_of_batches():
    assert len(LABELS) == 53
    assert len(batches(6, 2)) == 8  # 53 // 6
    assert len(batches(6, 2, world_size=3)) == 2  # 53 // 18
    assert len(batches(4, 4, labels=np.arange(9))) == 9  # to cover all classes
    assert len(batches(4, 4, labels=np.arange(9), world_size=2)) == 5
    assert len(batches(6, 2, 11)) == 11


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("number", [None, 4])
def test_ranks_share_the_batches_of_one_epoch_and_none_is_lost(world, number):
    parts = [batches(6, 2, number, world_size=world, rank=rank) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    whole = batches(6, 2, len(parts[0]) * world)
    assert [batch for together in zip(*parts, strict=True) for batch in together] == whole


def test_seed_and_epoch_decide():
    assert batches() == batches()
    assert batches(seed=4) != batches() and batches(epoch=1) != batches()
    assert batches(seed=None) == batches(seed=0)


def test_a_sampler_of_mmengine(monkeypatch):
    data = Toy()
    sampler = DefaultSampler(data, shuffle=True, seed=3)
    found = MPerClassBatchSampler(sampler, 6, 2)
    assert list(found) == batches() and len(found) == len(list(found))
    sampler.set_epoch(1)
    assert list(found) == batches(epoch=1)
    monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda: (1, 2))
    second = MPerClassBatchSampler(DefaultSampler(data, shuffle=True, seed=3), 6, 2)
    assert list(second) == batches(world_size=2, rank=1)


class Recorder(nn.Module):
    """A model that notes which rows it was given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(nn.init.ones_(nn.Linear(1, 1).weight))
        self.seen = []

    def train_step(self, data, optim_wrapper):
        self.seen.append([int(i) for i in data["inputs"]])
        return {}


def test_the_training_loop_sets_the_epoch(tmp_path):
    model = Recorder()
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=dict(
            batch_size=6,
            num_workers=0,
            sampler=dict(type=DefaultSampler, shuffle=True, seed=3),
            batch_sampler=dict(type=MPerClassBatchSampler, samples_per_class=2, num_batches=4),
            collate_fn=dict(type="default_collate"),
            dataset=Toy(),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_scope="mmengine",
        log_level="ERROR",
        default_hooks=dict(checkpoint=None, logger=None),
        experiment_name="sampler",
    )
    runner.train()
    expected = [batch for epoch in range(3) for batch in batches(6, 2, 4, epoch=epoch)]
    assert model.seen == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(batch_size=7), "batch_size is 7 and samples_per_class 2"),
        (dict(batch_size=0), "batch_size is 0"),
        (dict(each=0), "samples_per_class 0"),
        (dict(batch_size=16), "a batch has 8 classes, but the data has only 7"),
        (dict(num_batches=0), "num_batches is 0"),
        (dict(labels=[(0, 1), (1,)]), "one integer an image, but Toy has not"),
        (dict(labels=np.array([0.0, 1.0])), "one integer an image"),
        (dict(labels=np.zeros((4, 2), dtype=int)), "one integer an image"),
        (dict(labels=None), "one integer an image"),
    ],
)
def test_what_makes_no_batch_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        batches(**options)


def test_labels_may_be_a_list():
    assert batches(labels=LABELS.tolist()) == batches()
