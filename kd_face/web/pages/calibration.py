"""Page of the calibration: error rates of the gallery, the threshold, and networks side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kd_face import audit, settings, spaces
from kd_face.database.models import Embedding, ModelVersion
from kd_face.errors import FaceError
from kd_face.gallery_report import GalleryReport, gallery_rows, report
from kd_face.latency import latency_of
from kd_face.recognition import MARGIN, Rule, calibrated_rule, rule_of, set_rule
from kd_face.web import charts
from kd_face.web.access import Operator
from kd_face.web.pages.rendering import render
from kd_face.web.state import Shared

router = APIRouter()
FAR = 0.001
_HIGHEST = 2  # above any similarity: nobody is recognized


@dataclass(frozen=True)
class Measured:
    """A network on the gallery.

    Args:
        model: The network.
        report: Its figures.
        total: Pictures of the gallery; the report may have drawn some of them.
        latency: Milliseconds a face, or None where it was not measured.
    """

    model: ModelVersion
    report: GalleryReport
    total: int
    latency: float | None


@router.get("/calibration")
def show_calibration(request: Request, web: Shared, caller: Operator, far: float = FAR) -> Response:
    """Show the figures of the gallery at the threshold for a wanted FAR."""
    try:
        with web.reports.taken(), web.home.read() as session:
            rule = rule_of(session, web.networks)
            measured = _measure(session, far)
            is_calibrated = calibrated_rule(session) is not None
    except ValueError as error:  # too few pictures, or a FAR that cannot be
        page = render(request, "calibration_none.html", error=str(error))
        page.status_code = 422 if "far" in request.query_params else 200
        return page
    own = measured[0]
    named = [(one.model.name, one.report.pairs) for one in measured]
    if len({name for name, _ in named}) < len(named):
        named = [
            (f"{one.model.name} {one.model.version[:6]}", one.report.pairs) for one in measured
        ]
    return render(
        request,
        "calibration.html",
        far=far,
        rule=rule,
        is_calibrated=is_calibrated,
        own=own,
        suggested=math.ceil(own.report.threshold * 1e4) / 1e4,  # not down: the FAR would be higher
        measured=measured,
        charts=[
            charts.error_chart(own.report.pairs, own.report.threshold),
            charts.roc_chart(named),
            charts.det_chart(named),
        ],
    )


@router.post("/calibration")
def use_threshold(
    request: Request,
    web: Shared,
    caller: Operator,
    threshold: Annotated[float, Form()],
    margin: Annotated[float, Form()] = MARGIN,
) -> Response:
    """Use a threshold and margin from now on."""
    if not (-1 <= threshold <= _HIGHEST and 0 <= margin <= 1):
        raise FaceError(
            f"a threshold is from -1 to {_HIGHEST} and a margin from 0 to 1, but they are "
            f"{threshold:g} and {margin:g}. Correct them."
        )
    with web.home.write() as session:
        set_rule(session, web.networks, Rule(threshold, margin))
        details = {"threshold": threshold, "margin": margin}
        audit.append(session, caller.name, "rule.set", details)
    return RedirectResponse("/calibration?done=rule", 303)


def _measure(session: Session, far: float) -> list[Measured]:
    """Return the network in use, and the one before it if every picture has a row of it."""
    active, before = settings.get(session, spaces.ACTIVE), settings.get(session, spaces.PREVIOUS)
    found = [_measured(session, active, far)]
    if before is not None and _count(session, before) == _count(session, active):
        found.append(_measured(session, before, far))
    return found


def _measured(session: Session, model_id: int, far: float) -> Measured:
    rows, owners, total = gallery_rows(session, model_id)
    model = session.get_one(ModelVersion, model_id)
    return Measured(model, report(rows, owners, far), total, latency_of(session, model_id))


def _count(session: Session, model_id: int) -> int:
    chosen = select(func.count()).select_from(Embedding).where(Embedding.model_id == model_id)
    return session.scalar(chosen) or 0
