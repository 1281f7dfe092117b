"""Tables of the face application.

Portable over SQLite, MariaDB/MySQL and PostgreSQL: bounded strings, naive UTC times of whole
seconds, JSON as text, vectors as float32 bytes in little-endian order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    DateTime,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_CASCADE = "CASCADE"


class Base(DeclarativeBase):
    """Base class of all tables."""

    metadata = MetaData(naming_convention=_NAMES)


class Setting(Base):
    """A setting or a counter of the application, as JSON."""

    __tablename__ = "setting"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class ModelVersion(Base):
    """A network with its weights: the space that embeddings belong to."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("name", "version"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(64))
    dim: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime)


class Person(Base):
    """A person that can be recognized."""

    __tablename__ = "person"
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime] = mapped_column(DateTime)


class Picture(Base):
    """An example of a person; its pixels are a blob."""

    __tablename__ = "picture"
    # An id is never used twice, so that a cache cannot take a new picture for a deleted one.
    __table_args__ = (UniqueConstraint("person_id", "sha256"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete=_CASCADE))
    blob: Mapped[str] = mapped_column(String(32), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))  # of the file that was uploaded
    name: Mapped[str] = mapped_column(String(255))  # of that file, shown and never opened
    face: Mapped[str] = mapped_column(Text)  # JSON: box, landmarks, score
    created_at: Mapped[datetime] = mapped_column(DateTime)


class Embedding(Base):
    """The row of a picture in the space of one model version."""

    __tablename__ = "embedding"
    __table_args__ = (UniqueConstraint("picture_id", "model_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    picture_id: Mapped[int] = mapped_column(ForeignKey("picture.id", ondelete=_CASCADE))
    model_id: Mapped[int] = mapped_column(
        ForeignKey("model_version.id", ondelete=_CASCADE), index=True
    )
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class User(Base):
    """Somebody who may sign in."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16))
    is_active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(DateTime)


class LoginSession(Base):
    """A session of a user who has signed in."""

    __tablename__ = "login_session"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete=_CASCADE), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(DateTime)
    expires_at: Mapped[datetime] = mapped_column(DateTime)


class ApiKey(Base):
    """A key of a program, with scopes; only a hash of its secret is stored."""

    __tablename__ = "api_key"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(Text)  # JSON list
    created_at: Mapped[datetime] = mapped_column(DateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime)


class AuditEntry(Base):
    """An entry of the audit log; it is never changed."""

    __tablename__ = "audit_entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime)
    actor: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(64))
    details: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64), unique=True)


class UnknownFace(Base):
    """A face that was not recognized, kept until it expires."""

    __tablename__ = "unknown_face"
    # An id is never used twice, so that a form that was loaded before cannot mean another face.
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    blob: Mapped[str] = mapped_column(String(32), unique=True)
    model_id: Mapped[int] = mapped_column(
        ForeignKey("model_version.id", ondelete=_CASCADE), index=True
    )
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    seen_at: Mapped[datetime] = mapped_column(DateTime)
    expires_at: Mapped[datetime] = mapped_column(DateTime, index=True)


def to_bytes(row: NDArray[Any]) -> bytes:
    """Return a row (D,) as the database stores it."""
    return np.ascontiguousarray(row, "<f4").tobytes()


def from_bytes(content: bytes) -> NDArray[Any]:
    """Return a stored row (D,), float32."""
    return np.frombuffer(content, "<f4").astype(np.float32)


def _refuse(_mapper: Any, _connection: Any, _entry: AuditEntry) -> None:
    raise RuntimeError("an entry of the audit log is never changed or deleted. Append another one.")


event.listen(AuditEntry, "before_update", _refuse)
event.listen(AuditEntry, "before_delete", _refuse)
