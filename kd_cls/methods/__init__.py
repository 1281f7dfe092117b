"""Methods with more networks than a student and a frozen teacher; one file each."""

from kd_cls.methods.byot import BYOT, SelfDistillation
from kd_cls.methods.ccskd import CCSKD, CCSKDSchedule, ChannelCorrelation
from kd_cls.methods.ctkd import CTKD, CollaborativeTeaching
from kd_cls.methods.heads import HeadTraining, TeacherHeads
from kd_cls.methods.mskd_ssr import MSKDSSR, ReflectionWeights, SelfReflection

__all__ = [
    "BYOT",
    "CCSKD",
    "CTKD",
    "MSKDSSR",
    "CCSKDSchedule",
    "ChannelCorrelation",
    "CollaborativeTeaching",
    "HeadTraining",
    "ReflectionWeights",
    "SelfDistillation",
    "SelfReflection",
    "TeacherHeads",
]
