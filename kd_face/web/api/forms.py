"""Forms of the REST API: what several routes take and return."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Query, UploadFile
from pydantic import BaseModel, Field

from kd_face.images import Limits
from kd_face.web.access import Caller, scope

PREFIX = "/api/v1"
_LARGEST = 2**31 - 1  # of an id in every database

Id = Annotated[int, Field(ge=1, le=_LARGEST)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Upload = Annotated[UploadFile, File(description="JPEG, PNG, WebP, PGM or PPM image")]
Offset = Annotated[int, Query(ge=0, le=_LARGEST)]
Limit = Annotated[int, Query(ge=1, le=200)]

Reader = Annotated[Caller, Depends(scope("people:read", "viewer"))]
Writer = Annotated[Caller, Depends(scope("people:write", "operator"))]


_ERRORS = {
    400: "The request cannot be read",
    401: "No valid session or key",
    403: "Not allowed, or the CSRF token is wrong",
    404: "There is none",
    409: "What is there already stands against it",
    413: "The body is too large",
    422: "Refused, with the reason",
    429: "Too many requests of this key, or of this kind at once; Retry-After says when",
    503: "The database cannot be written to; Retry-After says when",
}


class ErrorAnswer(BaseModel):
    """Why a request is refused."""

    error: str


class PersonRef(BaseModel):
    """A person."""

    id: int
    name: str


def image_of(file: UploadFile, limits: Limits) -> tuple[bytes, str]:
    """Return content and name of an uploaded image.

    Args:
        file: As it was sent; one byte more than is accepted is read.
        limits: Of an image.
    """
    name = PurePath(file.filename or "image").name[:100] or "image"
    return file.file.read(limits.max_bytes + 1), name


def api_router(prefix: str, tag: str) -> APIRouter:
    """Return a router of the REST API.

    Args:
        prefix: Of its paths, after that of the API.
        tag: Heading in the schema.
    """
    answers: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer, "description": text} for status, text in _ERRORS.items()
    }
    return APIRouter(prefix=f"{PREFIX}{prefix}", tags=[tag], responses=answers)
