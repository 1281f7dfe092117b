"""REST API of recognition: who is in an image, and whether a face is a certain person."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Form
from pydantic import BaseModel

from kd_face import review
from kd_face.images import read_image
from kd_face.recognition import Recognized, identify_pixels, quantized, rule_of, verify
from kd_face.web.access import Caller, scope
from kd_face.web.api.forms import Id, PersonRef, Reader, Upload, api_router, image_of
from kd_face.web.state import Shared

router = api_router("", "recognition")


class FaceAnswer(BaseModel):
    """A face; what is null is only told to operators and admins who are signed in."""

    box: tuple[float, float, float, float]
    person: PersonRef | None
    similarity: float
    margin: float | None
    nearest: PersonRef | None
    picture: int | None
    reason: str | None


class IdentifyAnswer(BaseModel):
    """Faces of an image, the largest first."""

    faces: list[FaceAnswer]


class VerifyAnswer(BaseModel):
    """Whether the face is the person."""

    accepted: bool
    similarity: float


class RuleAnswer(BaseModel):
    """When a face is a person."""

    threshold: float
    margin: float


@router.post("/identify")
def identify(
    web: Shared, caller: Annotated[Caller, Depends(scope("identify", "viewer"))], file: Upload
) -> IdentifyAnswer:
    """Say who is in an image. Unknown faces are kept for review where the settings say so."""
    content, name = image_of(file, web.networks.limits)
    pixels = read_image(content, name, web.networks.limits)
    with web.recognitions.taken():
        found = identify_pixels(web.home, web.index, web.networks, pixels)
        review.keep_unknown(web.home, web.networks, pixels, found)
    return IdentifyAnswer(faces=[_answer(one, caller) for one in found])


@router.post("/verify")
def verify_person(
    web: Shared,
    caller: Annotated[Caller, Depends(scope("verify", "viewer"))],
    file: Upload,
    person: Annotated[Id, Form()],
) -> VerifyAnswer:
    """Say whether the one face of an image is a person."""
    content, name = image_of(file, web.networks.limits)
    with web.recognitions.taken():
        accepted, similarity = verify(web.home, web.networks, person, content, name)
    shown = similarity if caller.sees_scores else quantized(similarity)
    return VerifyAnswer(accepted=accepted, similarity=shown)


@router.get("/rule")
def read_rule(web: Shared, caller: Reader) -> RuleAnswer:
    """Return threshold and margin in use."""
    with web.home.read() as session:
        rule = rule_of(session, web.networks)
    return RuleAnswer(threshold=rule.threshold, margin=rule.margin)


def _answer(found: Recognized, caller: Caller) -> FaceAnswer:
    is_exact = caller.sees_scores
    return FaceAnswer(
        box=found.face.box,
        person=_person(found.person),
        similarity=found.similarity if is_exact else quantized(found.similarity),
        margin=found.margin if is_exact else None,
        nearest=_person(found.nearest) if is_exact else None,
        picture=found.picture_id if is_exact else None,
        reason=found.reason if is_exact else None,
    )


def _person(found: tuple[int, str] | None) -> PersonRef | None:
    return None if found is None else PersonRef(id=found[0], name=found[1])
