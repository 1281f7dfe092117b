"""Users and their passwords: argon2id, three roles, no account that nobody has made."""

from __future__ import annotations

import functools
import re

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import audit, sessions
from kd_face.database.models import User
from kd_face.errors import FaceError, Missing
from kd_face.home import Home, now

ROLES = ("viewer", "operator", "admin")  # each may do what the one before it may
SHORTEST, LONGEST = 12, 1024
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,100}")
_HASHER = PasswordHasher()  # argon2id with the parameters of RFC 9106's low-memory choice


def add(session: Session, name: str, password: str, role: str, actor: str) -> User:
    """Add a user.

    Args:
        session: Of a transaction that writes.
        name: Letters, digits and ``._@-``; upper and lower case are one.
        password: At least 12 characters.
        role: One of :data:`ROLES`.
        actor: For the audit log.

    Raises:
        FaceError: If one of them cannot be, or the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise FaceError(
            "a user's name must have 1 to 100 letters, digits or . _ @ -, but this one is "
            f"{name[:100]!r}. Correct it."
        )
    check_role(role)
    check_password(password)
    if _find(session, name) is not None:
        raise FaceError(f"there is a user {name.lower()} already. Choose another name.")
    user = User(
        name=name.lower(),
        password_hash=_HASHER.hash(password),
        role=role,
        is_active=True,
        created_at=now(),
    )
    session.add(user)
    session.flush()
    audit.append(session, actor, "user.add", {"user": user.name, "role": role})
    return user


def authenticate(home: Home, name: str, password: str) -> User | None:
    """Return the user of a name and password, or None.

    An unknown or disabled user takes as long as a wrong password: a hash is checked either way. The
    hash is checked outside any transaction, so that it holds up nobody.

    Args:
        home: The installation.
        name: As it was typed.
        password: As it was typed.
    """
    with home.read() as session:
        user = _find(session, name[:LONGEST])
    nobody = _nobody()  # made for whoever comes first, so that it gives no unknown user away
    stored = user.password_hash if user is not None else nobody
    is_right = len(password) <= LONGEST and _matches(stored, password[:LONGEST])
    return user if is_right and user is not None and user.is_active else None


def set_password(session: Session, name: str, password: str, actor: str) -> None:
    """Set a user's password; all sessions of the user end.

    Raises:
        FaceError: If there is no such user, or the password cannot be one.
    """
    user = _require(session, name)
    check_password(password)
    user.password_hash = _HASHER.hash(password)
    sessions.end_all(session, user)
    audit.append(session, actor, "user.password", {"user": user.name})


def disable(session: Session, name: str, actor: str) -> None:
    """Disable a user, who can no longer sign in; all sessions end.

    Raises:
        FaceError: If there is no such user, or it is the last active admin.
    """
    user = _require(session, name)
    _require_other_admin(session, user)
    user.is_active = False
    sessions.end_all(session, user)
    audit.append(session, actor, "user.disable", {"user": user.name})


def enable(session: Session, name: str, actor: str) -> None:
    """Let a disabled user sign in again.

    Raises:
        FaceError: If there is no such user.
    """
    user = _require(session, name)
    user.is_active = True
    audit.append(session, actor, "user.enable", {"user": user.name})


def set_role(session: Session, name: str, role: str, actor: str) -> None:
    """Set a user's role; all sessions end.

    Raises:
        FaceError: If there is no such user or role, or it is the last active admin.
    """
    user = _require(session, name)
    check_role(role)
    if role == user.role:
        return
    _require_other_admin(session, user)
    user.role = role
    sessions.end_all(session, user)
    audit.append(session, actor, "user.role", {"user": user.name, "role": role})


def listed(session: Session) -> list[User]:
    """Return all users by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def allows(role: str, needed: str) -> bool:
    """Return whether a role may do what another one may; an unknown one may do nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def check_role(role: str) -> None:
    """Require that a role is one of :data:`ROLES`.

    Raises:
        FaceError: If it is not.
    """
    if role not in ROLES:
        raise FaceError(f"a role must be one of {', '.join(ROLES)}, but it is {role!r}.")


def check_password(password: str) -> None:
    """Require that a password is long enough.

    Raises:
        FaceError: If it has fewer than 12 characters, or more than 1,024.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise FaceError(
            f"a password must have {SHORTEST} to {LONGEST} characters, but this one has "
            f"{len(password)}. Choose another one."
        )


def _find(session: Session, name: str) -> User | None:
    if not _NAME.fullmatch(name):  # not every database takes every character in a question
        return None
    return session.scalars(select(User).where(User.name == name.lower())).one_or_none()


def _require(session: Session, name: str) -> User:
    user = _find(session, name)
    if user is None:
        raise Missing(
            f"there is no user {name.lower()[:100]}. kdkit face user list has all, and so has the "
            "page of the users."
        )
    return user


def _require_other_admin(session: Session, user: User) -> None:
    """Require that an active admin remains without a user."""
    others = select(User.id).where(User.role == "admin", User.is_active, User.id != user.id)
    is_one = user.role == "admin" and user.is_active
    if is_one and session.scalars(others).first() is None:
        raise FaceError(f"{user.name} is the last admin. Add another one first.")


def _matches(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@functools.lru_cache(maxsize=1)
def _nobody() -> str:
    return _HASHER.hash("the password of nobody")
