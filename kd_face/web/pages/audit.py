"""Page of the audit log: filter, verification of the chain, CSV."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import func, select

from kd_face import audit
from kd_face.audit_export import csv_lines
from kd_face.database.models import AuditEntry
from kd_face.errors import FaceError
from kd_face.web.access import Admin
from kd_face.web.pages.rendering import pages_of, render
from kd_face.web.state import Shared, Web

router = APIRouter()
_EACH = 50


@router.get("/audit")
def show_audit(
    request: Request, web: Shared, caller: Admin, actor: str = "", action: str = "", page: int = 1
) -> Response:
    """Show entries, the newest first."""
    return _list(request, web, actor, action, page)


@router.post("/audit/verify")
def verify(request: Request, web: Shared, caller: Admin) -> Response:
    """Verify the chain and say what was found."""
    try:
        with web.home.read() as session:
            count, head = audit.verify(session)
    except FaceError as error:
        return _list(request, web, error=str(error))
    return _list(request, web, verified=(count, head))


@router.get("/audit.csv")
def download(web: Shared, caller: Admin, actor: str = "", action: str = "") -> Response:
    """Send the entries as CSV, the oldest first, without cells that a spreadsheet would run."""
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingResponse(
        csv_lines(web.home, actor, action), media_type="text/csv; charset=utf-8", headers=headers
    )


def _list(
    request: Request,
    web: Web,
    actor: str = "",
    action: str = "",
    page: int = 1,
    error: str = "",
    verified: tuple[int, str] | None = None,
) -> Response:
    chosen = audit.chosen(actor, action)
    with web.home.read() as session:
        total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
        page, last = pages_of(total, page, _EACH)
        newest = chosen.order_by(AuditEntry.id.desc()).offset((page - 1) * _EACH).limit(_EACH)
        found = session.scalars(newest).all()
        actions = session.scalars(select(AuditEntry.action).distinct()).all()
    filters = {key: text for key, text in (("actor", actor), ("action", action)) if text}
    response = render(
        request,
        "audit.html",
        found=found,
        total=total,
        page=page,
        last=last,
        actor=actor,
        action=action,
        actions=sorted(actions),
        query=urlencode(filters) + "&" if filters else "",
        error=error,
        verified=verified,
    )
    response.status_code = 409 if error else 200
    return response
