"""Methods with more networks than a student and a frozen teacher; one file each."""

from kd_cls.methods.ccskd import CCSKD, CCSKDSchedule, ChannelCorrelation
from kd_cls.methods.ckd_mkt import CKDMKT, MultiKnowledgeTransfer, TransferWeights
from kd_cls.methods.ctkd import CTKD, CollaborativeTeaching
from kd_cls.methods.dml import DML, MutualLearning

__all__ = [
    "CCSKD",
    "CKDMKT",
    "CTKD",
    "DML",
    "CCSKDSchedule",
    "ChannelCorrelation",
    "CollaborativeTeaching",
    "MultiKnowledgeTransfer",
    "MutualLearning",
    "TransferWeights",
]
