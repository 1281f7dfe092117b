"""Sessions of users: in the database under a hash of their token, new at every login."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from kd_face import audit
from kd_face.database.models import LoginSession, User
from kd_face.home import now

HOURS = 12


def begin(session: Session, user: User, old_token: str | None = None) -> tuple[str, str]:
    """Begin a session after a login; return its token and its CSRF token.

    Args:
        session: Of a transaction that writes.
        user: Who has signed in.
        old_token: Of the session that the browser had before; it ends.
    """
    if old_token:
        end(session, old_token)
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now()))
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    row = LoginSession(
        token_hash=_hash(token),
        user_id=user.id,
        csrf=csrf,
        created_at=now(),
        expires_at=now() + timedelta(hours=HOURS),
    )
    session.add(row)
    audit.append(session, user.name, "session.begin", {})
    return token, csrf


def user_of(session: Session, token: str) -> User | None:
    """Return the user of a session that has not expired; None if disabled, or there is none."""
    row = session.get(LoginSession, _hash(token))
    if row is None or row.expires_at <= now():
        return None
    user = session.get_one(User, row.user_id)
    return user if user.is_active else None


def csrf_of(session: Session, token: str) -> str | None:
    """Return the CSRF token of a session, for its forms; None if there is none."""
    row = session.get(LoginSession, _hash(token))
    return None if row is None else row.csrf


def same(csrf: str, sent: str) -> bool:
    """Return whether a CSRF token is what was sent; an empty one never is."""
    return bool(csrf) and hmac.compare_digest(csrf.encode(), sent.encode())


def end(session: Session, token: str) -> None:
    """End a session; one that is gone already is no error."""
    session.execute(delete(LoginSession).where(LoginSession.token_hash == _hash(token)))


def end_all(session: Session, user: User) -> None:
    """End all sessions of a user, as after a new password."""
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
