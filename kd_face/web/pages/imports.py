"""Page of the bulk import: a ZIP, its progress, and what became of each file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from kd_face.bulk_import import REFUSED
from kd_face.web import importing
from kd_face.web.access import Operator
from kd_face.web.pages.rendering import render
from kd_face.web.state import Shared, Web

router = APIRouter()
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
    importing.start_import(web, file, caller.name)
    return RedirectResponse("/imports", 303)


def _progress(web: Web) -> dict[str, object]:
    job = web.jobs.last(importing.IMPORT)
    lines = list(job.lines) if job else []
    counts: dict[str, int] = {}
    for one in lines:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    lines.sort(key=lambda one: one.outcome != REFUSED)  # stable: otherwise in the order of names
    return {"job": job, "lines": lines[:_SHOWN], "counts": counts, "hidden": len(lines) - _SHOWN}
