"""Backup and restore: database, blobs and a manifest with their checksums, in one ZIP.

Tables are read in one transaction and stored as lines of JSON, which belong to no kind of database.
Sessions of users are left out. Checksums find damage, not forgery: who can change the file can
change its manifest as well. The file holds faces; keep it safe and delete it when it expires, as an
erased person stays in it until then.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select
from sqlalchemy.orm import Session

from kd_core.checkpoint.atomic import temporary_folder
from kd_face import audit, settings
from kd_face.database.migrate import newest_version
from kd_face.database.models import (
    AuditEntry,
    Base,
    LoginSession,
    Person,
    Setting,
    User,
)
from kd_face.errors import FaceError
from kd_face.home import Home, now
from kd_face.pictures import COPIES, named_blobs
from kd_face.private_files import private_file

_MANIFEST = "manifest.json"
_LEFT_OUT = {LoginSession.__tablename__}
_BATCH = 500
_CHUNK = 2**20
_TRIES = 20


def back_up(home: Home, out: Path) -> tuple[int, int]:
    """Write a backup, whole or not at all, readable by its owner alone.

    Args:
        home: The installation; it may be in use meanwhile.
        out: The ZIP; one that is there is replaced.

    Returns:
        Number of rows and of blobs.

    Raises:
        FaceError: If a blob is missing.
    """
    with (
        private_file(out) as file,
        temporary_folder(home.folder / COPIES) as copies,
        _held(home, copies) as (session, blobs),
    ):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            written = _Writer(archive)
            rows = sum(_write_table(session, table, written) for table in _tables())
            for name in blobs:
                written.add(f"blobs/{name}", (copies / name).read_bytes())
            head = audit.verify(session)
            manifest = {
                "version": newest_version(),
                "made_at": now().isoformat(),
                "audit": list(head),
                "files": written.files,
            }
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
    return rows, len(blobs)


def restore(home: Home, source: Path, actor: str) -> tuple[int, int]:
    """Restore a backup into an installation without people, users and audit entries.

    Everything is checked before anything is written; the rows come in one transaction at the end.

    Args:
        home: The installation, just made.
        source: The ZIP.
        actor: For the audit log.

    Returns:
        Number of rows and of blobs.

    Raises:
        FaceError: If the backup is damaged, incomplete or of another version, or the installation
            is not empty.
    """
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise FaceError(f"{source} cannot be read as a backup. Take another one.") from error
    with archive:
        _check(archive, source)
        with home.read() as session:
            _require_empty(session)
        names = [one for one in archive.namelist() if one.startswith("blobs/")]
        for name in names:
            home.blobs.put(name.partition("/")[2], archive.read(name))
        with home.write() as session:
            _require_empty(session)
            rows = sum(_read_table(session, table, archive) for table in _tables())
            _continue_ids(session)
            if sorted(named_blobs(session)) != sorted(name.partition("/")[2] for name in names):
                raise FaceError(f"{source}: blobs and rows do not belong together. It is refused.")
            audit.verify(session)
            audit.append(session, actor, "restore", {"rows": rows, "blobs": len(names)})
    home.drop_index()
    return rows, len(names)


class _Writer:
    """Entries of the archive, and their sizes and checksums."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.files: dict[str, list[Any]] = {}

    def add(self, name: str, content: bytes) -> None:
        self.add_parts(name, iter([content]))

    def add_parts(self, name: str, parts: Iterator[bytes]) -> None:
        size, digest = 0, hashlib.sha256()
        with self._archive.open(name, "w", force_zip64=True) as entry:
            for part in parts:
                entry.write(part)
                digest.update(part)
                size += len(part)
        self.files[name] = [size, digest.hexdigest()]


def _tables() -> list[Table]:
    return [one for one in Base.metadata.sorted_tables if one.name not in _LEFT_OUT]


@contextlib.contextmanager
def _held(home: Home, folder: Path) -> Iterator[tuple[Session, list[str]]]:
    """Open a session, and keep the blobs that it names in a folder until it ends.

    They are links, which take no time and no space. Where blobs were deleted between the session's
    view and their link, both are made anew.
    """
    for _ in range(_TRIES):
        with home.read() as session:
            blobs = named_blobs(session)
            gone = {name for name in blobs if not _keep(home.blobs.path(name), folder / name)}
            if not gone:
                yield session, blobs
                return
        with home.read() as session:
            if lost := gone & set(named_blobs(session)):
                raise FaceError(
                    f"the blob {min(lost)} is gone, and {len(lost) - 1} others. Restore the "
                    "backup before, or delete their pictures."
                )
    raise FaceError("pictures are deleted faster than a backup can begin. Run it again.")


def _keep(blob: Path, copy: Path) -> bool:
    """Link to a blob, or copy it where the file system has no links; return if it is there."""
    with contextlib.suppress(FileNotFoundError):
        try:
            os.link(blob, copy)
        except FileExistsError:
            pass
        except OSError:
            shutil.copyfile(blob, copy)
        return True
    return False


def _write_table(session: Session, table: Table, written: _Writer) -> int:
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        order = table.primary_key.columns.values()
        for row in session.execute(select(table).order_by(*order)).yield_per(_BATCH):
            count += 1
            content = {key: _plain(value) for key, value in row._mapping.items()}
            yield json.dumps(content).encode() + b"\n"

    written.add_parts(f"tables/{table.name}.jsonl", lines())
    return count


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else value


def _check(archive: zipfile.ZipFile, source: Path) -> None:
    """Compare every entry with the manifest."""
    names = [one for one in archive.namelist() if one != _MANIFEST]
    try:
        manifest = json.loads(archive.read(_MANIFEST))
        files, version = manifest["files"], manifest["version"]
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise FaceError(f"{source} has no manifest that can be read. Take another one.") from error
    if version != newest_version():
        raise FaceError(
            f"{source} must be of version {newest_version()}, but it is of {version}. Restore it "
            "with the version of kdkit that made it, and upgrade then."
        )
    expected = {f"tables/{table.name}.jsonl" for table in _tables()}
    tables = {one for one in names if not one.startswith("blobs/")}
    if sorted(names) != sorted(files) or tables != expected:
        raise FaceError(f"{source} does not hold what its manifest lists. Take another one.")
    for name, (size, expected_digest) in files.items():
        if _measured(archive, name, size) != (size, expected_digest):
            raise FaceError(f"{source} is damaged in {name}: its checksum differs.")


def _measured(archive: zipfile.ZipFile, name: str, limit: int) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with contextlib.suppress(zipfile.BadZipFile, OSError), archive.open(name) as entry:
        while size <= limit and (part := entry.read(_CHUNK)):
            size += len(part)
            digest.update(part)
    return size, digest.hexdigest()


def _require_empty(session: Session) -> None:
    for table in (Person, User, AuditEntry):
        if session.scalars(select(table).limit(1)).first() is not None:
            raise FaceError(
                "a backup is only restored into an installation without people, users and audit "
                "entries, but this one has some. Run kdkit face init with another --home."
            )


def _read_table(session: Session, table: Table, archive: zipfile.ZipFile) -> int:
    count = 0
    with archive.open(f"tables/{table.name}.jsonl") as entry:
        while rows := [_typed(table, json.loads(one)) for one in itertools.islice(entry, _BATCH)]:
            count += len(rows)
            if table is Setting.__table__:  # one of them is the row that writers lock
                for row in rows:
                    settings.put(session, row["key"], json.loads(row["value"]))
            else:
                session.execute(insert(table), rows)
    return count


def _continue_ids(session: Session) -> None:
    """Have PostgreSQL count on after the ids that came with their rows, as the others do."""
    if session.connection().dialect.name != "postgresql":
        return
    for table in _tables():
        if "id" in table.columns:
            sequence = func.pg_get_serial_sequence(f'"{table.name}"', "id")
            session.execute(select(func.setval(sequence, func.max(table.c.id))).select_from(table))


def _typed(table: Table, content: dict[str, Any]) -> dict[str, Any]:
    kinds = {column.name: column.type.python_type for column in table.columns}
    typed = dict(content)
    for key, value in content.items():
        if value is not None and kinds[key] is bytes:
            typed[key] = base64.b64decode(value, validate=True)
        elif value is not None and kinds[key] is datetime:
            typed[key] = datetime.fromisoformat(value)
    return typed
