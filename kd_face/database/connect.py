"""Connections to the database: SQLite by default, MariaDB/MySQL and PostgreSQL by URL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from kd_core.packages import require_packages
from kd_face.errors import FaceError

_DRIVERS = {"mysql": "pymysql", "mariadb": "pymysql", "postgresql": "psycopg"}
_WAIT = 30  # seconds that a writer waits for another one
_POOL: dict[str, Any] = {
    "poolclass": QueuePool,
    "pool_size": 20,  # connections that stay open
    "max_overflow": -1,  # nobody waits for one: a server has as many threads as it can serve
    "pool_pre_ping": True,
}


def connect(url: str) -> Engine:
    """Return an engine; its connections are opened on use.

    A transaction that reads has one view of the database from its first statement to its end. One
    that writes waits for the writer before it; see :func:`writing`.

    In SQLite foreign keys are on, the journal is a write-ahead log, and every commit is synced to
    the disk. In MariaDB and MySQL a value that does not fit is an error, whatever the server says.

    Args:
        url: Such as ``sqlite:////var/lib/faces/faces.db`` or ``mariadb://user@host/faces``; the
            driver is pymysql or psycopg where it names none.

    Raises:
        FaceError: If the URL cannot be read, or is of another kind of database.
        ImportError: If the driver is not installed.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, hide_parameters=True, **_POOL)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(parsed, hide_parameters=True, isolation_level="REPEATABLE READ", **_POOL)
    is_postgres = parsed.get_backend_name() == "postgresql"
    event.listen(engine, "connect", _prepare_postgres if is_postgres else _prepare_mariadb)
    return engine


def writing(engine: Engine) -> Engine:
    """Return the engine for transactions that write.

    In SQLite such a transaction takes the write lock as it begins, so that it never fails in the
    middle because of another writer. Elsewhere each of its statements sees what is committed; its
    first one has to lock a row that all writers lock, which has the same effect.
    """
    options: dict[str, Any] = {"kd_write": True}
    if engine.dialect.name != "sqlite":
        options["isolation_level"] = "READ COMMITTED"
    return engine.execution_options(**options)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # its message would repeat the URL, and so the password
        raise FaceError(
            "the database must be a URL such as sqlite:///faces.db, but it cannot be read as one. "
            "Correct it."
        ) from None
    kind = parsed.get_backend_name()
    if kind != "sqlite" and kind not in _DRIVERS:
        raise FaceError(
            f"the database must be one of sqlite, {', '.join(_DRIVERS)}, but it is {kind}. Choose "
            "one of them."
        )
    if parsed.drivername == kind and kind in _DRIVERS:
        require_packages(f"a database of {kind}", [_DRIVERS[kind]])
        return parsed.set(drivername=f"{kind}+{_DRIVERS[kind]}")
    return parsed


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin below, not where the driver guesses
    # SQLite's own lower() knows ASCII alone; the others' know all letters
    connection.create_function("lower", 1, _lower, deterministic=True)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_WAIT * 1000}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # erased rows are overwritten, not only unlinked
    cursor.close()


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("kd_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_mariadb(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    strict = "CONCAT(@@sql_mode, ',STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION')"
    cursor.execute(f"SET SESSION sql_mode = {strict}, innodb_lock_wait_timeout = {_WAIT}")
    cursor.execute("SET SESSION default_storage_engine = InnoDB")
    cursor.close()


def _prepare_postgres(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{_WAIT}s'")
    cursor.close()
    connection.commit()
