"""Home of an installation: its folder, database and blobs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from kd_face import settings
from kd_face.blobs import Blobs
from kd_face.database.connect import connect, writing
from kd_face.database.migrate import require_current, upgrade
from kd_face.errors import FaceError, Unavailable

DATABASE = "KD_FACE_DATABASE"  # environment variable: a URL may hold a password
FILE = "faces.db"
INDEX = ("index.json", "index.faiss")  # the kept index, a cache
_PATIENCE = 200  # milliseconds that an erasure waits for whoever reads


@dataclass(frozen=True)
class Home:
    """An installation.

    Args:
        folder: Of the index, the blobs and, by default, the database.
        engine: Of the database.
        blobs: The pictures' pixels.
    """

    folder: Path
    engine: Engine
    blobs: Blobs

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that only reads; what it sees does not change meanwhile."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that is committed at the end, or rolled back by an error.

        One session writes at a time, whatever the database: another one waits here, for at most 30
        seconds. So none of them can end in a deadlock.

        Raises:
            Unavailable: If the database cannot be reached, or another writer does not end.
        """
        with Session(writing(self.engine), expire_on_commit=False) as session, session.begin():
            try:
                settings.locked(session, settings.CHANGE)
            except OperationalError as error:
                raise Unavailable(
                    f"the database cannot be written to: {error.orig}. Wait until other programs "
                    "are done with it, or start its server."
                ) from error
            yield session

    def erase_files(self, blobs: Collection[str]) -> None:
        """Delete what is left of rows that were deleted, once their transaction has ended.

        These are their pixels, the kept index, and what SQLite's log holds of them. While somebody
        reads a view from before, the log stays; a later erasure or the last program to end empties
        it.

        Args:
            blobs: That the rows named.
        """
        self.blobs.delete(blobs)
        self.drop_index()
        if self.engine.dialect.name != "sqlite":
            return
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={_PATIENCE}")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.close()
        finally:
            connection.invalidate()  # nobody else is to be as impatient

    def drop_index(self) -> None:
        """Delete the kept index; it is made anew from the database."""
        for name in INDEX:
            (self.folder / name).unlink(missing_ok=True)


def init_home(folder: Path) -> Home:
    """Make an installation, or upgrade the tables of one that is there.

    Args:
        folder: Made where it is missing, for its owner alone.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.environ.get(DATABASE):
        (folder / FILE).touch(mode=0o600)  # the folder may have been there, open to others
    home = _home(folder)
    upgrade(home.engine)
    with home.write() as session:
        if settings.get(session, settings.CHANGE) is None:
            settings.put(session, settings.CHANGE, 0)  # a row that writers can lock
    return home


def open_home(folder: Path) -> Home:
    """Open an installation.

    Args:
        folder: That ``kdkit face init`` has made.

    Raises:
        FaceError: If there is none, or its tables are of another version.
    """
    if not os.environ.get(DATABASE) and not (folder / FILE).is_file():
        raise FaceError(f"{folder} holds no face database. Run: kdkit face init")
    home = _home(folder)
    require_current(home.engine)
    return home


def now() -> datetime:
    """Return the time as the database stores it: UTC, whole seconds."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


def _home(folder: Path) -> Home:
    url = os.environ.get(DATABASE) or f"sqlite:///{folder.resolve() / FILE}"
    return Home(folder, connect(url), Blobs(folder / "blobs"))
