"""Bulk import by the server: an uploaded ZIP becomes a job in the background."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

from fastapi import UploadFile

from kd_face.bulk_import import FileReport, import_people
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
    kept = tempfile.TemporaryFile()  # without a name, so that nothing of it outlives the server
    try:
        shutil.copyfileobj(file.file, kept)
        return web.jobs.start(IMPORT, actor, lambda job: _import(web, kept, job))
    except BaseException:
        kept.close()
        raise


def _import(web: Web, file: IO[bytes], job: Job) -> None:
    with file:
        reports = import_people(web.home, web.networks, file, job.actor)
        while (one := _next(web, reports)) is not None:
            job.lines.append(one)
            job.done += 1


def _next(web: Web, reports: Iterator[FileReport]) -> FileReport | None:
    with web.recognitions.taken(is_patient=True):  # others have their turn after each file
        return next(reports, None)
