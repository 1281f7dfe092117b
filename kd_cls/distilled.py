"""Distilled classifiers: types of a config's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kd_cls.adapter import ClassifierAdapter
from kd_core import methods
from kd_engine.distilled import build_distilled, model_type

ADAPTER = ClassifierAdapter()


def DistilledClassifier(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    teacher: Mapping[str, Any] | None = None,
    teachers: Mapping[str, Mapping[str, Any]] | None = None,
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
    inherit: Any = None,
) -> nn.Module:
    """Build a student :class:`Classifier` and a frozen teacher, and attach a distiller.

    See :func:`kd_engine.distilled.build_distilled` for the arguments. The student returns
    ``loss_<term>`` besides its ``loss_ce``. Without a ``dry_run_size`` the dry run has the size
    that student or teacher takes, otherwise 32 x 32 pixels.
    """
    return build_distilled(
        ADAPTER, student, terms, teacher, teachers, gradient_shares, dry_run_size, inherit
    )


Adversarial = model_type(methods.Adversarial, ADAPTER, __name__)
BYOT = model_type(methods.BYOT, ADAPTER, __name__)
CAMKD = model_type(methods.CAMKD, ADAPTER, __name__)
CCSKD = model_type(methods.CCSKD, ADAPTER, __name__)
CKDMKT = model_type(methods.CKDMKT, ADAPTER, __name__)
CTKD = model_type(methods.CTKD, ADAPTER, __name__)
DML = model_type(methods.DML, ADAPTER, __name__)
MSKDSSR = model_type(methods.MSKDSSR, ADAPTER, __name__)
ONE = model_type(methods.ONE, ADAPTER, __name__)
PSKD = model_type(methods.PSKD, ADAPTER, __name__)
SelfTeacher = model_type(methods.SelfTeacher, ADAPTER, __name__)
TeacherHeads = model_type(methods.TeacherHeads, ADAPTER, __name__)
