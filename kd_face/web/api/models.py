"""REST API of model versions and of the calibration of the one in use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import select

from kd_face import settings, spaces
from kd_face.calibration import Share
from kd_face.database.models import ModelVersion
from kd_face.gallery_report import gallery_rows, report
from kd_face.web.access import Caller, scope
from kd_face.web.api.forms import Reader, api_router
from kd_face.web.state import Shared

router = api_router("", "networks")


class ModelAnswer(BaseModel):
    """A network that the gallery has embeddings of."""

    id: int
    name: str
    version: str
    dim: int
    created_at: datetime
    is_active: bool


class ShareAnswer(BaseModel):
    """A share with its 95 % interval; null of nothing."""

    value: float | None
    low: float
    high: float
    total: int


class CalibrationAnswer(BaseModel):
    """Figures of the gallery at the threshold for a wanted FAR."""

    people: int
    pictures: int
    threshold: float
    far: ShareAnswer
    frr: ShareAnswer
    strangers_accepted: ShareAnswer
    rank_1: ShareAnswer
    eer: float
    eer_low: float
    eer_high: float
    warnings: list[str]


@router.get("/models")
def list_models(web: Shared, caller: Reader) -> list[ModelAnswer]:
    """List the networks, the newest first."""
    with web.home.read() as session:
        active = settings.get(session, spaces.ACTIVE)
        found = session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc())).all()
    return [
        ModelAnswer(
            id=one.id,
            name=one.name,
            version=one.version,
            dim=one.dim,
            created_at=one.created_at,
            is_active=one.id == active,
        )
        for one in found
    ]


@router.get("/calibration")
def calibrate(
    web: Shared,
    caller: Annotated[Caller, Depends(scope("people:read", "operator"))],
    far: Annotated[float, Query(ge=0, lt=1)] = 0.001,
) -> CalibrationAnswer:
    """Measure the gallery; nothing is set."""
    with web.home.read() as session:
        model = spaces.require_active(session, web.networks.embedder)
        rows, owners, _ = gallery_rows(session, model)
    with web.reports.taken():
        found = report(rows, owners, far)
    return CalibrationAnswer(
        people=found.people,
        pictures=found.pictures,
        threshold=found.threshold,
        far=_share(found.far),
        frr=_share(found.frr),
        strangers_accepted=_share(found.accepted_strangers),
        rank_1=_share(found.rank_1),
        eer=found.eer,
        eer_low=found.eer_interval[0],
        eer_high=found.eer_interval[1],
        warnings=list(found.warnings),
    )


def _share(share: Share) -> ShareAnswer:
    low, high = share.interval
    value = share.value if share.total else None
    return ShareAnswer(value=value, low=low, high=high, total=share.total)
