"""REST API of the bulk import: a ZIP in the background, with a report for each file."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import File, UploadFile
from pydantic import BaseModel

from kd_face.errors import Missing
from kd_face.web.api.forms import Limit, Offset, Writer, api_router
from kd_face.web.importing import IMPORT, start_import
from kd_face.web.jobs import Job
from kd_face.web.state import Shared

router = api_router("/imports", "import")
Zip = Annotated[UploadFile, File(description="ZIP with one folder for each person")]


class FileAnswer(BaseModel):
    """What became of a file: added, known or refused, with the reason."""

    name: str
    person: str
    outcome: str
    reason: str


class ImportAnswer(BaseModel):
    """The import that runs or was the last; reports are kept until the next one or a restart."""

    started_at: datetime
    is_running: bool
    error: str
    done: int
    files: list[FileAnswer]


@router.post("", status_code=202)
def start(web: Shared, caller: Writer, file: Zip) -> ImportAnswer:
    """Begin to import a ZIP; a folder's name is the person's. One import runs at a time."""
    return _answer(start_import(web, file, caller.name), 0, 0)


@router.get("")
def read(web: Shared, caller: Writer, offset: Offset = 0, limit: Limit = 200) -> ImportAnswer:
    """Return the state of the import, and a page of its reports in the order of the files."""
    job = web.jobs.last(IMPORT)
    if job is None:
        raise Missing("there was no import since the server was started.")
    return _answer(job, offset, limit)


def _answer(job: Job, offset: int, limit: int) -> ImportAnswer:
    files = [
        FileAnswer(name=one.name, person=one.person, outcome=one.outcome, reason=one.reason)
        for one in job.lines[offset : offset + limit]
    ]
    return ImportAnswer(
        started_at=job.started_at,
        is_running=job.is_running,
        error=job.error,
        done=job.done,
        files=files,
    )
