"""Audit log: entries are only appended, and each holds the hash of the one before.

    hash = SHA-256 of the JSON list [previous, at, actor, action, details]

A changed, removed or inserted entry breaks the chain; a cut end differs from the head that the
settings hold. Somebody who can write to the whole database can make a new chain: keep the head that
``verify`` returns somewhere else to find that out as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from kd_face import settings
from kd_face.database.models import AuditEntry
from kd_face.errors import FaceError
from kd_face.home import now

HEAD = "audit_head"  # number and hash of the newest entry
_BEGIN = "0" * 64


def append(session: Session, actor: str, action: str, details: Mapping[str, Any]) -> None:
    """Append an entry, in the transaction of what it is about.

    Args:
        session: Of that transaction, which is the only one that writes.
        actor: Name of the user or key, or "command".
        action: Such as "person.delete".
        details: What JSON can hold; no picture, embedding or secret.
    """
    count, previous = settings.locked(session, HEAD, [0, _BEGIN])
    text = json.dumps(dict(details), sort_keys=True)
    entry = AuditEntry(at=now(), actor=actor[:100], action=action, details=text, previous=previous)
    entry.hash = _hash(entry)
    session.add(entry)
    settings.put(session, HEAD, [count + 1, entry.hash])


def chosen(actor: str = "", action: str = "") -> Select[Any]:
    """Return the question for entries.

    Args:
        actor: Whose; empty for all.
        action: Of which kind; empty for all.
    """
    found = select(AuditEntry)
    if actor:
        found = found.where(AuditEntry.actor == actor.replace("\0", ""))  # PostgreSQL has none
    return found.where(AuditEntry.action == action.replace("\0", "")) if action else found


def verify(session: Session) -> tuple[int, str]:
    """Verify the chain.

    Returns:
        Number of entries and the newest hash, the head.

    Raises:
        FaceError: Names the first entry that does not fit.
    """
    count, previous = 0, _BEGIN
    for entry in _entries(session):
        count += 1
        if entry.previous != previous or entry.hash != _hash(entry):
            raise FaceError(
                f"entry {entry.id} of the audit log does not fit to the one before: one of them "
                "was changed, removed or inserted. Compare with a backup."
            )
        previous = entry.hash
    if [count, previous] != settings.get(session, HEAD, [0, _BEGIN]):
        raise FaceError(
            f"the audit log ends at entry {count}, which is not its recorded end: its newest "
            "entries were removed. Compare with a backup."
        )
    return count, previous


def _entries(session: Session) -> Iterator[AuditEntry]:
    yield from session.scalars(
        select(AuditEntry).order_by(AuditEntry.id).execution_options(yield_per=1000)
    )


def _hash(entry: AuditEntry) -> str:
    content = [entry.previous, entry.at.isoformat(), entry.actor, entry.action, entry.details]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
