"""Page of the models: versions, re-embedding in the background, switch, roll-back, latency."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kd_face import networks, people, reembed, settings, spaces
from kd_face.database.models import Embedding, ModelVersion
from kd_face.latency import latency_of, measure_latency
from kd_face.web.access import Admin
from kd_face.web.api.forms import Id
from kd_face.web.following import load_network
from kd_face.web.jobs import Job
from kd_face.web.pages.rendering import render
from kd_face.web.state import Shared, Web

router = APIRouter()
REEMBED = "re-embedding"


@router.get("/models")
def show_models(request: Request, web: Shared, caller: Admin) -> Response:
    """Show the networks, and the re-embedding that runs or was the last."""
    with web.home.read() as session:
        content = {
            "models": _models(session),
            "active": settings.get(session, spaces.ACTIVE),
            "previous": settings.get(session, spaces.PREVIOUS),
            "pictures": people.counts(session)[1],
        }
    choices = networks.choices(web.home)
    folder = web.home.folder.name + "/" + networks.FOLDER
    return render(
        request,
        "models.html",
        choices=choices,
        folder=folder,
        job=web.jobs.last(REEMBED),
        **content,
    )


@router.get("/models/progress")
def show_progress(request: Request, web: Shared, caller: Admin) -> Response:
    """Show the part of the page that changes."""
    return render(request, "parts/reembed.html", job=web.jobs.last(REEMBED))


@router.post("/models/reembed")
def start_reembedding(
    request: Request, web: Shared, caller: Admin, network: Annotated[str, Form()]
) -> Response:
    """Embed all pictures by a network in the background, measure it, and use it then."""
    choice = networks.require_choice(web.home, network)
    web.jobs.start(REEMBED, caller.name, lambda job: _reembed(web, choice, job))
    return RedirectResponse("/models", 303)


@router.post("/models/roll-back")
def roll_back(request: Request, web: Shared, caller: Admin) -> Response:
    """Use the network before the one in use again."""
    with web.recognitions.taken():
        networks.switch_back(web.home, caller.name)
        load_network(web)
    return RedirectResponse("/models?done=rolled-back", 303)


@router.post("/models/{model_id}/forget")
def forget(request: Request, web: Shared, caller: Admin, model_id: Id) -> Response:
    """Delete the embeddings of a network that is not in use."""
    reembed.forget(web.home, model_id, caller.name)
    return RedirectResponse("/models?done=forgotten", 303)


@router.post("/models/latency")
def measure(request: Request, web: Shared, caller: Admin) -> Response:
    """Measure the network in use."""
    with web.recognitions.taken():
        measure_latency(web.home, web.networks.embedder, caller.name)
    return RedirectResponse("/models?done=measured", 303)


def _reembed(web: Web, choice: networks.Choice, job: Job) -> None:
    with web.recognitions.taken(is_patient=True):
        embedder = networks.embedder_of(choice.student)
        measure_latency(web.home, embedder, job.actor)
    steps = networks.switch(web.home, choice.student, job.actor)
    while (step := _next(web, steps)) is not None:
        job.done, job.total = step


def _next(web: Web, steps: Iterator[tuple[int, int]]) -> tuple[int, int] | None:
    with web.recognitions.taken(is_patient=True):  # others have their turn after each batch
        step = next(steps, None)
        if step is None:
            load_network(web)  # before anybody meets the other space
        return step


def _models(session: Session) -> list[tuple[ModelVersion, int, float | None]]:
    count = func.count(Embedding.id)
    chosen = (
        select(ModelVersion, count)
        .outerjoin(Embedding, Embedding.model_id == ModelVersion.id)
        .group_by(ModelVersion.id)
        .order_by(ModelVersion.id)
    )
    found = session.execute(chosen)
    return [(model, number, latency_of(session, model.id)) for model, number in found]
