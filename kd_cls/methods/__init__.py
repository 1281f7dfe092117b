"""Methods with more networks than a student and a frozen teacher; one file each."""

from kd_cls.methods.ccskd import CCSKD, CCSKDSchedule, ChannelCorrelation
from kd_cls.methods.ctkd import CTKD, CollaborativeTeaching

__all__ = [
    "CCSKD",
    "CTKD",
    "CCSKDSchedule",
    "ChannelCorrelation",
    "CollaborativeTeaching",
]
