"""A teacher that is a file."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from kd_core import Distiller, FrozenTeacher, Term
from kd_core.losses import FeatureImitationLoss
from kd_retrieval.cached_teacher import StoredEmbeddings
from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings, write_embeddings

IDS = np.array([40, 7, 2**40, 9, 0], np.int64)
VECTORS = np.arange(10, dtype=np.float32).reshape(5, 2)


class Data:
    """A dataset with only what a check needs."""

    ids = IDS[:3]

    def fingerprint(self):
        return "data"


@pytest.fixture(params=["float32", "float16"])
def file(request, tmp_path):
    path = tmp_path / "teacher"
    rows = Embeddings(
        vectors=VECTORS.astype(request.param),
        labels=np.zeros(5, np.int64),
        ids=IDS,
        roles=np.zeros(5, np.int64),
        paths=tuple("abcde"),
        class_names=("x",),
        key=EmbeddingKey(checkpoint="weights", data="data"),
    )
    write_embeddings(path, rows)
    return str(path)


def test_rows_are_found_by_id(file):
    teacher = StoredEmbeddings(file)
    ids = torch.tensor([0, 2**40, 7, 7])
    found = teacher(torch.zeros(4, 3, 8, 8), ids=ids, mode="tensor")
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(VECTORS[[4, 2, 1, 1]]))
    assert teacher.dim == 2


@pytest.mark.parametrize("missing", [8, 41, -1, 2**41])
def test_an_unknown_id_is_named(file, missing):
    with pytest.raises(ValueError, match=rf"has none for 1 ids, first {missing}\."):
        StoredEmbeddings(file)(torch.zeros(2, 3, 8, 8), ids=torch.tensor([7, missing]))


def test_only_a_dry_run_may_have_no_ids(file):
    teacher = StoredEmbeddings(file)
    assert torch.equal(teacher(torch.zeros(2, 3, 8, 8)), torch.from_numpy(VECTORS[:2]))
    with pytest.raises(ValueError, match="found by id, but a batch of 3 images has none"):
        teacher(torch.zeros(3, 3, 8, 8))
    with pytest.raises(ValueError, match="'tensor' alone, not 'loss'"):
        teacher(torch.zeros(2, 3, 8, 8), mode="loss")


def test_nothing_is_learned_saved_or_cast(file):
    teacher = StoredEmbeddings(file)
    assert not list(teacher.parameters()) and not teacher.state_dict()
    found = teacher.half()(torch.zeros(1, 3, 8, 8), ids=torch.tensor([40]))
    assert found.dtype == torch.float32
    assert not hasattr(teacher, "data_preprocessor")


def test_a_term_reads_its_embedding(file):
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Linear(3, 2)

        def forward(self, inputs, ids=None):
            return self.embedding(inputs.mean(dim=(2, 3)))

    student = Student()
    teacher = FrozenTeacher(
        StoredEmbeddings(file), lambda model, inputs, ids=None: model(inputs, ids=ids)
    )
    terms = {"imitation": Term(FeatureImitationLoss(), "embedding")}
    distiller = Distiller(teacher, terms)
    distiller.attach(student, (torch.zeros(2, 3, 8, 8),))
    nn.init.zeros_(student.embedding.weight)
    nn.init.zeros_(student.embedding.bias)
    student(torch.zeros(2, 3, 8, 8), ids=torch.tensor([9, 0]))
    (loss,) = distiller.losses().values()
    expected = FeatureImitationLoss()(torch.zeros(2, 2), torch.from_numpy(VECTORS[3:]))
    assert loss.item() == pytest.approx(expected.item()) and loss.item() > 0


def test_another_key_is_refused(file):
    StoredEmbeddings(file, dict(checkpoint="weights"))
    with pytest.raises(ValueError, match="another checkpoint"):
        StoredEmbeddings(file, dict(checkpoint="others"))


def test_the_training_data_must_be_the_files_data(file):
    teacher, data = StoredEmbeddings(file), Data()
    teacher.check(data)
    data.ids = np.array([7, 8])
    with pytest.raises(ValueError, match="none for 1 ids, first 8"):
        teacher.check(data)
    data.ids = IDS
    data.fingerprint = lambda: "changed"
    with pytest.raises(
        ValueError, match=re.escape("another data (it has 'data', expected is 'chan")
    ):
        teacher.check(data)


def test_a_copy_gives_the_same(file):
    teacher = StoredEmbeddings(file)
    ids = torch.tensor([9])
    for other in (copy.deepcopy(teacher), pickle.loads(pickle.dumps(teacher))):
        assert torch.equal(
            other(torch.zeros(1, 3, 8, 8), ids=ids), teacher(torch.zeros(1), ids=ids)
        )
