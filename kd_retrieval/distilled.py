"""Distilled embedders: types of a config's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kd_core import methods
from kd_engine.distilled import build_distilled, model_type
from kd_retrieval.adapter import EmbedderAdapter, IdentityAdapter

ADAPTER = EmbedderAdapter()
IDENTITIES = IdentityAdapter()  # for methods that need class scores


def DistilledEmbedder(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    teacher: Mapping[str, Any] | None = None,
    teachers: Mapping[str, Mapping[str, Any]] | None = None,
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
    inherit: Any = None,
) -> nn.Module:
    """Build a student :class:`Embedder` and a frozen teacher, and attach a distiller.

    See :func:`kd_engine.distilled.build_distilled` for the arguments; the checkpoint of a teacher
    ``kd_retrieval.StoredEmbeddings`` is ``None``. The student returns ``loss_<term>`` besides its
    own loss. Without a ``dry_run_size`` the dry run has the size that a vision transformer takes,
    otherwise 128 x 128 pixels.
    """
    return build_distilled(
        ADAPTER, student, terms, teacher, teachers, gradient_shares, dry_run_size, inherit
    )


CAMKD = model_type(methods.CAMKD, ADAPTER, __name__)
CCSKD = model_type(methods.CCSKD, IDENTITIES, __name__)
CKDMKT = model_type(methods.CKDMKT, ADAPTER, __name__)
DML = model_type(methods.DML, ADAPTER, __name__)
MSKDSSR = model_type(methods.MSKDSSR, IDENTITIES, __name__)
SelfTeacher = model_type(methods.SelfTeacher, ADAPTER, __name__)
TeacherHeads = model_type(methods.TeacherHeads, IDENTITIES, __name__)
