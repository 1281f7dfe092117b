"""Embeddings of nothing, to be searched."""

import numpy as np

from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings

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
