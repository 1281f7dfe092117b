"""Metrics of the server, as Prometheus reads them; a key with the scope ``metrics`` is needed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from kd_face import people
from kd_face.web.access import Caller, scope
from kd_face.web.state import Shared, Web

router = APIRouter()


@router.get("/metrics")
def read_metrics(
    web: Shared, caller: Annotated[Caller, Depends(scope("metrics", "admin"))]
) -> Response:
    """Return all metrics."""
    return Response(_text(web), media_type=CONTENT_TYPE_LATEST)


def _text(web: Web) -> bytes:
    with web.home.read() as session:
        for name, count in zip(("people", "pictures"), people.counts(session), strict=True):
            web.metrics.gallery.labels(name).set(count)
    web.metrics.recognitions.set(web.recognitions.inside)
    return generate_latest(web.metrics.registry)
