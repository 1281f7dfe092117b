"""Bulk import by the server: an uploaded ZIP becomes a job in the background."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fastapi import UploadFile

from kd_face.bulk_import import FileReport, import_people
from kd_face.errors import FaceError
from kd_face.web.jobs import Job
from kd_face.web.state import Web

IMPORT = "import"  # kind of the job; its lines are reports of files


def start_import(web: Web, file: UploadFile, actor: str) -> Job:
    """Import a ZIP in the background; the upload is deleted at the end.

    Args:
        web: State of the server.
        file: The ZIP.
        actor: For the audit log.

    Raises:
        kd_face.errors.Conflict: If another job runs.
    """
    folder = tempfile.TemporaryDirectory(prefix="kd_face_import_")
    path = Path(folder.name, "upload.zip")

    def work(job: Job) -> None:
        with folder:
            _import(web, path, job)

    try:
        with path.open("wb") as out:
            shutil.copyfileobj(file.file, out)
        return web.jobs.start(IMPORT, actor, work)
    except BaseException:
        folder.cleanup()
        raise


def _import(web: Web, path: Path, job: Job) -> None:
    reports = import_people(web.home, web.networks, path, job.actor)
    try:
        while (one := _next(web, reports)) is not None:
            job.lines.append(one)
            job.done += 1
    except FaceError as error:
        raise FaceError(str(error).replace(str(path), "the file")) from error


def _next(web: Web, reports: Iterator[FileReport]) -> FileReport | None:
    with web.recognitions.taken(is_patient=True):  # others have their turn after each file
        return next(reports, None)
