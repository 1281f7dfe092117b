"""Embedding networks for retrieval: teachers, students, data, recall@K."""

import kd_engine  # noqa: F401  first: it refuses two distributions of mmengine

# isort: split
from kd_retrieval.batch import collate
from kd_retrieval.cached_teacher import StoredEmbeddings
from kd_retrieval.datasets import (
    CUB200,
    SOP,
    BuiltInDigits,
    Caltech100,
    Cars196,
    CSVFile,
    InShop,
    LabeledFolder,
    Omniglot,
)
from kd_retrieval.distilled import DistilledEmbedder
from kd_retrieval.embedder import Embedder
from kd_retrieval.metric import RecallMetric
from kd_retrieval.recall.at_k import RecallResult, recall_at_k
from kd_retrieval.sampler import MPerClassBatchSampler
from kd_retrieval.trunks import TimmTrunk, TorchvisionTrunk

__all__ = [
    "BuiltInDigits",
    "CSVFile",
    "CUB200",
    "Caltech100",
    "Cars196",
    "DistilledEmbedder",
    "Embedder",
    "InShop",
    "LabeledFolder",
    "MPerClassBatchSampler",
    "Omniglot",
    "RecallMetric",
    "RecallResult",
    "SOP",
    "StoredEmbeddings",
    "TimmTrunk",
    "TorchvisionTrunk",
    "collate",
    "recall_at_k",
]
