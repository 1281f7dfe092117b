"""Migrations: the tables are made and upgraded by Alembic, from files in the package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, select

from kd_face.database.connect import writing
from kd_face.database.models import Base
from kd_face.errors import FaceError

_FOLDER = Path(__file__).parent / "migrations"
_MARIADB = ("mysql", "mariadb")
_EXACT = "utf8mb4_bin"
_LOCK = 1_615_102_979  # a number that means an upgrade of these tables
_WAIT = 30  # seconds


def upgrade(engine: Engine) -> None:
    """Make the tables, or bring them to this version.

    Args:
        engine: Of the database.
    """
    with _alone(engine), writing(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        _require_text(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextlib.contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Wait for another upgrade on MariaDB and MySQL; elsewhere the transaction itself does.

    The lock is held by a connection of its own, until the transaction of the upgrade has ended:
    the version is written last, and an upgrade that begins before would make all tables again.
    """
    if engine.dialect.name not in _MARIADB:
        yield
        return
    name = f"kdkit_face_{_LOCK}"
    with engine.connect() as connection:
        if connection.scalar(select(func.get_lock(name, _WAIT))) != 1:
            raise FaceError("another program upgrades the database. Wait until it is done.")
        try:
            yield
        finally:  # the connection is used again, and would keep it
            connection.execute(select(func.release_lock(name)))


def _require_text(connection: Connection) -> None:
    """Have all text stored as Unicode and compared exactly: 'Zoe', 'zoe' and 'Zoë' are three.

    Raises:
        FaceError: If PostgreSQL's database has another encoding, or knows no letters but ASCII's.
    """
    if connection.dialect.name in _MARIADB:
        found = connection.exec_driver_sql("SELECT @@collation_database").scalar()
        if found != _EXACT:
            connection.exec_driver_sql(f"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {_EXACT}")
    if connection.dialect.name == "postgresql":
        found = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if found != "UTF8":
            raise FaceError(
                f"the database must have the encoding UTF8, but it has {found}. Create it anew, "
                "with ENCODING 'UTF8' TEMPLATE template0."
            )
        if connection.exec_driver_sql("SELECT lower('\u00cb')").scalar() != "\u00eb":
            found = connection.exec_driver_sql("SHOW lc_ctype").scalar()
            raise FaceError(
                "the database must have a locale that knows all letters, as people are found in "
                f"upper and lower case, but it has {found}. Create it anew, with LOCALE 'C.UTF-8' "
                "ENCODING 'UTF8' TEMPLATE template0."
            )


def require_current(engine: Engine) -> None:
    """Require that the tables are those of this version.

    Raises:
        FaceError: If there are none, or those of another version.
    """
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    newest = newest_version()
    if found is None:
        raise FaceError("the database has no tables of the application. Run: kdkit face init")
    if found != newest:
        raise FaceError(
            f"the tables must be of version {newest}, but they are of {found}. Back up, and run: "
            "kdkit face init"
        )


def newest_version() -> str:
    """Return the version of the tables that this program has."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def differences(engine: Engine) -> list[object]:
    """Return how the tables of a database differ from the models; empty if they agree."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
