"""Embedding networks for retrieval: teachers, students, data, recall@K.

Names are imported when they are first used: ``recall_at_k`` needs no mmengine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kd_core.packages import lazy_names

if TYPE_CHECKING:
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
    from kd_retrieval.distilled import (
        CAMKD,
        CCSKD,
        CKDMKT,
        DML,
        MSKDSSR,
        DistilledEmbedder,
        SelfTeacher,
        TeacherHeads,
    )
    from kd_retrieval.embedder import Embedder
    from kd_retrieval.metric import RecallMetric
    from kd_retrieval.recall.at_k import RecallResult, recall_at_k
    from kd_retrieval.sampler import MPerClassBatchSampler
    from kd_retrieval.trunks import TimmTrunk, TorchvisionTrunk
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BuiltInDigits": "kd_retrieval.datasets",
            "CAMKD": "kd_retrieval.distilled",
            "CCSKD": "kd_retrieval.distilled",
            "CKDMKT": "kd_retrieval.distilled",
            "CSVFile": "kd_retrieval.datasets",
            "CUB200": "kd_retrieval.datasets",
            "Caltech100": "kd_retrieval.datasets",
            "Cars196": "kd_retrieval.datasets",
            "DML": "kd_retrieval.distilled",
            "DistilledEmbedder": "kd_retrieval.distilled",
            "Embedder": "kd_retrieval.embedder",
            "InShop": "kd_retrieval.datasets",
            "LabeledFolder": "kd_retrieval.datasets",
            "MSKDSSR": "kd_retrieval.distilled",
            "MPerClassBatchSampler": "kd_retrieval.sampler",
            "Omniglot": "kd_retrieval.datasets",
            "RecallMetric": "kd_retrieval.metric",
            "RecallResult": "kd_retrieval.recall.at_k",
            "SOP": "kd_retrieval.datasets",
            "SelfTeacher": "kd_retrieval.distilled",
            "StoredEmbeddings": "kd_retrieval.cached_teacher",
            "TeacherHeads": "kd_retrieval.distilled",
            "TimmTrunk": "kd_retrieval.trunks",
            "TorchvisionTrunk": "kd_retrieval.trunks",
            "collate": "kd_retrieval.batch",
            "recall_at_k": "kd_retrieval.recall.at_k",
        },
        first="kd_engine",  # it refuses an environment with two distributions of mmengine, or none
        plain=("RecallResult", "recall_at_k"),
    )

__all__ = [
    "BuiltInDigits",
    "CAMKD",
    "CCSKD",
    "CKDMKT",
    "CSVFile",
    "CUB200",
    "Caltech100",
    "Cars196",
    "DML",
    "DistilledEmbedder",
    "Embedder",
    "InShop",
    "LabeledFolder",
    "MSKDSSR",
    "MPerClassBatchSampler",
    "Omniglot",
    "RecallMetric",
    "RecallResult",
    "SOP",
    "SelfTeacher",
    "StoredEmbeddings",
    "TeacherHeads",
    "TimmTrunk",
    "TorchvisionTrunk",
    "collate",
    "recall_at_k",
]
