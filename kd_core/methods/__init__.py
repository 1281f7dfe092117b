"""Methods with more networks than a student and a frozen teacher; one class, one file each.

They are attached to a student as :class:`kd_core.Distiller` is, in a loop of your own as well as by
a config (``from_config``).
"""

from kd_core.methods.adversarial import Adversarial
from kd_core.methods.byot import BYOT
from kd_core.methods.camkd import CAMKD, TeacherFeatures
from kd_core.methods.ccskd import CCSKD, CCSKDSchedule
from kd_core.methods.ckd_mkt import CKDMKT, TransferWeights
from kd_core.methods.ctkd import CTKD, TeachingWeights
from kd_core.methods.dml import DML
from kd_core.methods.heads import HeadedClassifier, TeacherHeads
from kd_core.methods.mskd_ssr import MSKDSSR, ReflectionWeights
from kd_core.methods.one import ONE
from kd_core.methods.pskd import PSKD
from kd_core.methods.self_teacher import SelfTeacher

__all__ = [
    "BYOT",
    "CAMKD",
    "CCSKD",
    "CKDMKT",
    "CTKD",
    "DML",
    "MSKDSSR",
    "ONE",
    "PSKD",
    "Adversarial",
    "CCSKDSchedule",
    "HeadedClassifier",
    "ReflectionWeights",
    "SelfTeacher",
    "TeacherFeatures",
    "TeacherHeads",
    "TeachingWeights",
    "TransferWeights",
]
