"""Connections to the database: SQLite by default, MariaDB/MySQL and PostgreSQL by URL."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from kd_face.errors import FaceError

_DIALECTS = ("sqlite", "mysql", "mariadb", "postgresql")
_WAIT = 30_000  # milliseconds that a writer of SQLite waits for another one


def connect(url: str) -> Engine:
    """Return an engine; its connections are opened on use.

    In SQLite foreign keys are on, the journal is a write-ahead log, every commit is synced to the
    disk, and a transaction with the execution option ``kd_write`` takes the write lock as it
    begins, so that it never fails in the middle because of another writer.

    Args:
        url: Such as ``sqlite:////var/lib/faces/faces.db`` or ``mysql+pymysql://user@host/faces``.

    Raises:
        FaceError: If the URL cannot be read, or is of another kind of database.
        ImportError: If the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except (
        ArgumentError,
        ValueError,
    ):  # its message would repeat the URL, and with it the password
        raise FaceError(
            "the database must be a URL such as sqlite:///faces.db, but it cannot be read as one. "
            "Correct it."
        ) from None
    if parsed.get_backend_name() not in _DIALECTS:
        raise FaceError(
            f"the database must be one of {', '.join(_DIALECTS)}, but it is "
            f"{parsed.get_backend_name()}. Choose one of them."
        )
    engine = create_engine(parsed, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin below, not where the driver guesses
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_WAIT}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # erased rows are overwritten, not only unlinked
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("kd_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
