"""API keys with scopes: shown once when they are made, stored as a hash.

A key is ``kdf_<prefix>_<secret>``. The secret has 256 random bits, so that a plain SHA-256 is as
good as a slow hash; the prefix finds the row and may be shown.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import audit
from kd_face.database.models import ApiKey
from kd_face.errors import FaceError, Missing
from kd_face.home import now

SCOPES = ("identify", "verify", "people:read", "people:write", "audit:read", "metrics")
_FORM = "kdf"
_PREFIX = re.compile("[0-9a-f]{8}")


def create(session: Session, name: str, scopes: Collection[str], actor: str) -> str:
    """Make a key and return it; nobody can read it again.

    Args:
        session: Of a transaction that writes.
        name: What it is for.
        scopes: Some of :data:`SCOPES`.
        actor: For the audit log.

    Raises:
        FaceError: If the name is empty or too long, or a scope is unknown or none is given.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise FaceError(
            f"a key needs scopes of {', '.join(SCOPES)}, but these are "
            f"{', '.join(unknown) or 'none'}. Correct them."
        )
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise FaceError(
            f"the name of a key must have 1 to 100 characters, but this one has {len(name)}. "
            "Correct it."
        )
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    row = ApiKey(
        name=name,
        prefix=prefix,
        secret_hash=_hash(secret),
        scopes=json.dumps(sorted(set(scopes))),
        created_at=now(),
    )
    session.add(row)
    audit.append(session, actor, "key.create", {"prefix": prefix, "scopes": sorted(set(scopes))})
    return f"{_FORM}_{prefix}_{secret}"


def find(session: Session, key: str) -> ApiKey | None:
    """Return the row of a key that is not revoked, otherwise None.

    Args:
        session: Of the database.
        key: As it was sent.
    """
    form, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    row = _find(session, prefix)
    stored = row.secret_hash if row else _hash("")
    is_right = hmac.compare_digest(stored, _hash(secret)) and form == _FORM and bool(secret)
    if row is None or not is_right or row.revoked_at is not None:
        return None
    return row


def scopes_of(row: ApiKey) -> tuple[str, ...]:
    """Return the scopes of a key."""
    return tuple(json.loads(row.scopes))


def revoke(session: Session, prefix: str, actor: str) -> None:
    """Revoke a key by its prefix.

    Raises:
        FaceError: If there is none, or it is revoked already.
    """
    row = _find(session, prefix)
    if row is None or row.revoked_at is not None:
        raise Missing(
            f"there is no key {prefix} that could be revoked. Take one that kdkit face key list, "
            "or the page of the keys, calls active."
        )
    row.revoked_at = now()
    audit.append(session, actor, "key.revoke", {"prefix": prefix})


def _find(session: Session, prefix: str) -> ApiKey | None:
    if not _PREFIX.fullmatch(prefix):
        return None
    return session.scalars(select(ApiKey).where(ApiKey.prefix == prefix)).one_or_none()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
