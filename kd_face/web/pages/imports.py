"""Page of the bulk import: a ZIP, its progress, and what became of each file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from kd_face.bulk_import import REFUSED, FileReport, import_people
from kd_face.errors import FaceError
from kd_face.web.access import Operator
from kd_face.web.jobs import Job, in_turn
from kd_face.web.pages.rendering import render
from kd_face.web.state import Shared, Web

router = APIRouter()
IMPORT = "import"
_SHOWN = 1000  # reports of files; refused ones first


@router.get("/imports")
def show_imports(request: Request, web: Shared, caller: Operator) -> Response:
    """Show the form, and the import that runs or was the last."""
    return render(request, "imports.html", max_bytes=web.options.max_import, **_progress(web))


@router.get("/imports/progress")
def show_progress(request: Request, web: Shared, caller: Operator) -> Response:
    """Show the part of the page that changes."""
    return render(request, "parts/import.html", **_progress(web))


@router.post("/imports")
def start_import(
    request: Request, web: Shared, caller: Operator, file: Annotated[UploadFile, File()]
) -> Response:
    """Import a ZIP in the background."""
    folder = tempfile.TemporaryDirectory(prefix="kd_face_import_")
    path = Path(folder.name, "upload.zip")
    with path.open("wb") as out:
        shutil.copyfileobj(file.file, out)

    def work(job: Job) -> None:
        with folder:
            _import(web, path, job)

    try:
        web.jobs.start(IMPORT, caller.name, work)
    except BaseException:
        folder.cleanup()
        raise
    return RedirectResponse("/imports", 303)


def _import(web: Web, path: Path, job: Job) -> None:
    reports = import_people(web.home, web.networks, path, job.actor)
    try:
        while (one := _next(web, reports)) is not None:
            job.lines.append(one)
            job.done += 1
    except FaceError as error:
        raise FaceError(str(error).replace(str(path), "the file")) from error


def _next(web: Web, reports: Iterator[FileReport]) -> FileReport | None:
    with in_turn(web.recognitions):  # others have their turn after each file
        return next(reports, None)


def _progress(web: Web) -> dict[str, object]:
    job = web.jobs.last(IMPORT)
    lines = list(job.lines) if job else []
    counts: dict[str, int] = {}
    for one in lines:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    lines.sort(key=lambda one: one.outcome != REFUSED)  # stable: otherwise in the order of names
    return {"job": job, "lines": lines[:_SHOWN], "counts": counts, "hidden": len(lines) - _SHOWN}
