"""REST API for admins: keys and the audit log."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy import select

from kd_face import audit, keys
from kd_face.audit_export import csv_lines
from kd_face.database.models import ApiKey, AuditEntry
from kd_face.errors import FaceError
from kd_face.web.access import Admin, Caller, scope
from kd_face.web.answers import Refusal
from kd_face.web.api.forms import Id, Limit, api_router
from kd_face.web.state import Shared

router = api_router("", "administration")
Auditor = Annotated[Caller, Depends(scope("audit:read", "admin"))]
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {}}, "description": "The log, the oldest entry first"}
}


class NewKey(BaseModel):
    """What a key is for, and what it may do."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=len(keys.SCOPES))]


class MadeKey(BaseModel):
    """A new key; nobody can read it again."""

    key: str


class KeyAnswer(BaseModel):
    """A key without its secret."""

    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None


class EntryAnswer(BaseModel):
    """An entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    details: dict[str, Any]
    hash: str


class HeadAnswer(BaseModel):
    """Number of entries, and the hash of the newest: the head to keep somewhere else."""

    entries: int
    head: str


@router.get("/keys")
def list_keys(web: Shared, caller: Admin) -> list[KeyAnswer]:
    """List all keys, the newest first."""
    with web.home.read() as session:
        found = session.scalars(select(ApiKey).order_by(ApiKey.id.desc())).all()
    return [
        KeyAnswer(
            name=one.name,
            prefix=one.prefix,
            scopes=list(keys.scopes_of(one)),
            created_at=one.created_at,
            revoked_at=one.revoked_at,
        )
        for one in found
    ]


@router.post("/keys", status_code=201)
def create_key(web: Shared, caller: Admin, body: NewKey) -> MadeKey:
    """Make a key and return it, this once."""
    with web.home.write() as session:
        return MadeKey(key=keys.create(session, body.name, body.scopes, caller.name))


@router.delete("/keys/{prefix}", status_code=204)
def revoke_key(web: Shared, caller: Admin, prefix: str) -> None:
    """Revoke a key."""
    with web.home.write() as session:
        keys.revoke(session, prefix, caller.name)


@router.get("/audit")
def list_audit(
    web: Shared,
    caller: Auditor,
    before: Annotated[Id | None, Query(description="entries older than this one")] = None,
    limit: Limit = 50,
) -> list[EntryAnswer]:
    """List entries, the newest first."""
    chosen = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(AuditEntry.id < before)
    with web.home.read() as session:
        found = session.scalars(chosen).all()
    return [
        EntryAnswer(
            id=one.id,
            at=one.at,
            actor=one.actor,
            action=one.action,
            details=json.loads(one.details),
            hash=one.hash,
        )
        for one in found
    ]


@router.get("/audit/head")
def verify_audit(web: Shared, caller: Auditor) -> HeadAnswer:
    """Verify the chain; a broken one is answered 409 with the first entry that does not fit."""
    try:
        with web.home.read() as session:
            count, head = audit.verify(session)
    except FaceError as error:
        raise Refusal(409, str(error)) from error
    return HeadAnswer(entries=count, head=head)


@router.get("/audit.csv", response_class=Response, responses=_CSV)
def export_audit(web: Shared, caller: Auditor) -> Response:
    """Return all entries, without cells that a spreadsheet would run."""
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    lines = csv_lines(web.home)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
