"""Methods with more networks than a student and a frozen teacher; one file each."""

from kd_cls.methods.byot import BYOT, SelfDistillation
from kd_cls.methods.ccskd import CCSKD, CCSKDSchedule, ChannelCorrelation
from kd_cls.methods.ckd_mkt import CKDMKT, MultiKnowledgeTransfer, TransferWeights
from kd_cls.methods.ctkd import CTKD, CollaborativeTeaching
from kd_cls.methods.dml import DML, MutualLearning
from kd_cls.methods.heads import HeadTraining, TeacherHeads
from kd_cls.methods.mskd_ssr import MSKDSSR, ReflectionWeights, SelfReflection

__all__ = [
    "BYOT",
    "CCSKD",
    "CKDMKT",
    "CTKD",
    "DML",
    "MSKDSSR",
    "CCSKDSchedule",
    "ChannelCorrelation",
    "CollaborativeTeaching",
    "HeadTraining",
    "MultiKnowledgeTransfer",
    "MutualLearning",
    "ReflectionWeights",
    "SelfDistillation",
    "SelfReflection",
    "TeacherHeads",
    "TransferWeights",
]
