"""Methods with more networks than a student and a frozen teacher; one file each."""

from kd_cls.methods.ckd_mkt import CKDMKT, MultiKnowledgeTransfer, TransferWeights
from kd_cls.methods.ctkd import CTKD, CollaborativeTeaching
from kd_cls.methods.dml import DML, MutualLearning

__all__ = [
    "CKDMKT",
    "CTKD",
    "DML",
    "CollaborativeTeaching",
    "MultiKnowledgeTransfer",
    "MutualLearning",
    "TransferWeights",
]
