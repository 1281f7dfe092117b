"""Methods with more networks than a student and a frozen teacher; one file each."""

from kd_cls.methods.ctkd import CTKD, CollaborativeTeaching

__all__ = ["CTKD", "CollaborativeTeaching"]
