"""A teacher of embedders at another image size than the student's."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings, write_embeddings

from .test_distilled import STUDENT, batch, transformer

TERM = dict(loss=dict(type="kd_core.losses.RelationalDistanceLoss"), layers="embedding")


def build(config, scale):
    torch.manual_seed(0)
    teacher = dict(config=config, checkpoint=None, scale=scale)
    return MODELS.build(ConfigDict(
        type="kd_retrieval.DistilledEmbedder", student=copy.deepcopy(STUDENT), teacher=teacher,
        terms=dict(distance=TERM),
    ))  # fmt: skip


def test_a_transformer_of_another_size_teaches():
    model = build(transformer(32), (32, 32))
    seen = []
    model.distiller.teacher.model.trunk.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape[2:])
    )
    model.train()
    found = model(**model.data_preprocessor(batch(), True), mode="loss")["loss_distance"]
    assert found > 0 and seen == [(32, 32)]
    found.backward()
    assert model.trunk.conv1.weight.grad.abs().sum() > 0


def test_stored_embeddings_have_no_scale(tmp_path):
    zeros = np.zeros(8, np.int64)
    rows = Embeddings(
        vectors=np.eye(8, dtype=np.float32), labels=zeros, ids=np.arange(8), roles=zeros,
        paths=tuple("abcdefgh"), class_names=("x",), key=EmbeddingKey(),
    )  # fmt: skip
    write_embeddings(tmp_path / "teacher.npz", rows)
    stored = dict(type="kd_retrieval.StoredEmbeddings", file=str(tmp_path / "teacher.npz"))
    with pytest.raises(ValueError, match="stored embeddings see none. Leave scale"):
        build(stored, 2.0)
