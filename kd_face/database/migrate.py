"""Migrations: the tables are made and upgraded by Alembic, from files in the package."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from kd_face.database.models import Base
from kd_face.errors import FaceError

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Make the tables, or bring them to this version.

    Args:
        engine: Of the database.
    """
    with engine.execution_options(kd_write=True).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


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
