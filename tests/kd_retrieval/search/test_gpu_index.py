"""Indexes on a GPU, with a stand-in for what FAISS's GPU builds add."""

import runpy
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch

from kd_retrieval.search.gpu_index import on_device, require_gpu_index
from kd_retrieval.search.index import build_index
from kd_retrieval.search.index_file import load_index, save_index

table = runpy.run_path(str(Path(__file__).parents[1] / "toy_table.py"))["table"]
CPU, GPU = torch.device("cpu"), torch.device("cuda:1")


@pytest.fixture
def gpu_faiss(monkeypatch):
    """Copies go by FAISS's own serialization, which forgets the probes; returns the calls."""
    calls = []

    def copy(resources, number, index):
        calls.append((resources, number))
        copied = faiss.deserialize_index(faiss.serialize_index(index))
        if hasattr(copied, "nprobe"):
            copied.nprobe = 1
        return copied

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", copy, raising=False)
    return calls


@pytest.mark.parametrize("kind", ["flat", "ivf"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_copy_finds_the_same_neighbors(kind, metric, gpu_faiss):
    rows, queries = table(2000), table(40, seed=1).vectors
    built = build_index(rows, kind, metric)
    copied = on_device(built, GPU)
    assert [number for _, number in gpu_faiss] == [1]
    assert copied.resources is gpu_faiss[0][0] is not None  # alive as long as the index
    assert copied.index is not built.index and built.resources is None
    one, other = copied.search(queries, 9), built.search(queries, 9)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert (copied.kind, copied.metric, copied.key) == (kind, metric, built.key)


def test_a_kept_index_is_the_cpus(gpu_faiss, tmp_path):
    rows = table(600)
    save_index(tmp_path / "an.index", build_index(rows, "ivf"))
    read = on_device(load_index(tmp_path / "an.index", rows, probes=3), torch.device("cuda"))
    assert read.index.nprobe == 3 and gpu_faiss[0][1] == 0


def test_on_a_cpu_nothing_is_copied(gpu_faiss):
    built = build_index(table(50), "hnsw")
    require_gpu_index("hnsw", CPU, 5000)
    assert on_device(built, CPU) is built and not gpu_faiss


def test_what_a_gpu_cannot_do_is_refused(gpu_faiss, monkeypatch):
    require_gpu_index("ivf", GPU, 2047)
    with pytest.raises(ValueError, match="one of flat, ivf, but it is hnsw. Take one of these"):
        require_gpu_index("hnsw", GPU, 10)
    with pytest.raises(ValueError, match="fewer than 2048 neighbors, but k is 2048. Lower it"):
        require_gpu_index("flat", GPU, 2048)
    built = build_index(table(600), "ivf")
    monkeypatch.setattr(built.index, "nprobe", 2049)
    with pytest.raises(ValueError, match="2048 lists at most, but probes are 2049. Lower --probes"):
        on_device(built, GPU)


def test_a_faiss_for_cpus_is_named(monkeypatch):
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    with pytest.raises(ValueError, match="cuda:1 needs a GPU build of FAISS.*Install faiss-gpu"):
        require_gpu_index("flat", GPU, 10)
