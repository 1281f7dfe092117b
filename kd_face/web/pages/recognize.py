"""Pages of recognition: an uploaded image, and the camera of the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import Response
from numpy.typing import NDArray

from kd_face import settings, unknown_faces
from kd_face.errors import FaceError
from kd_face.images import read_image
from kd_face.recognition import Recognized, identify_pixels, quantized
from kd_face.review import keep_unknown
from kd_face.web.access import Caller, Viewer
from kd_face.web.pages.rendering import data_url, render
from kd_face.web.state import Shared, Web

router = APIRouter()
_LETTERS, _FEW = 24, 4  # of a name that are drawn over an image: at most, and at least
_WIDTH = 0.65  # of a letter over its size, in bold


@dataclass(frozen=True)
class Shown:
    """A face as a page shows it.

    Args:
        number: Of the face in its image, from 1.
        box: Left, top, width and height in pixels of the image.
        name: Of the person, or "unknown".
        person_id: The person's id, or None.
        nearest: Name of the nearest person of an unknown face, for operators.
        picture_id: The matching example, or None.
        reason: Why, in words.
    """

    number: int
    box: tuple[float, float, float, float]
    name: str
    person_id: int | None
    nearest: str
    picture_id: int | None
    reason: str

    def label(self, size: float, is_alone: bool) -> str:
        """Return what is drawn over the image: not wider than the box, if there are other faces.

        Args:
            size: Of the letters, in pixels of the image.
            is_alone: Whether it is the only face.
        """
        most = _LETTERS if is_alone else min(_LETTERS, int(self.box[2] / (_WIDTH * size)) - 2)
        if most < _FEW:
            return str(self.number)
        short = self.name if len(self.name) <= most else f"{self.name[: most - 1]}…"
        return f"{self.number} {short}"


@router.get("/recognize")
def show_recognize(request: Request, caller: Viewer) -> Response:
    """Show the form."""
    return render(request, "recognize.html", faces=None, error="")


@router.post("/recognize")
def recognize(
    request: Request, web: Shared, caller: Viewer, file: Annotated[UploadFile, File()]
) -> Response:
    """Show who is in an image; the image is not kept."""
    try:
        pixels, faces = _look(web, caller, file)
    except FaceError as error:
        page = render(request, "recognize.html", faces=None, error=str(error))
        page.status_code = 422
        return page
    height, width = pixels.shape[:2]
    return render(
        request,
        "recognize.html",
        faces=faces,
        error="",
        image=data_url(pixels),
        width=width,
        height=height,
        file_name=file.filename or "image",
        keeps=_keeps(web),
    )


@router.get("/camera")
def show_camera(request: Request, web: Shared, caller: Viewer) -> Response:
    """Show the camera's page."""
    return render(request, "camera.html", keeps=_keeps(web))


@router.post("/camera/frame")
def recognize_frame(
    request: Request, web: Shared, caller: Viewer, file: Annotated[UploadFile, File()]
) -> Response:
    """Return who is in a frame as a part of the page; the frame is not kept."""
    try:
        pixels, faces = _look(web, caller, file)
    except FaceError as error:
        return render(request, "parts/faces.html", faces=[], error=str(error), width=0, height=0)
    height, width = pixels.shape[:2]
    return render(request, "parts/faces.html", faces=faces, error="", width=width, height=height)


def _keeps(web: Web) -> bool:
    with web.home.read() as session:
        return bool(settings.get(session, unknown_faces.DAYS, 0))


def _look(web: Web, caller: Caller, file: UploadFile) -> tuple[NDArray[Any], list[Shown]]:
    limits = web.networks.limits
    content = file.file.read(limits.max_bytes + 1)
    pixels = read_image(content, file.filename or "the image", limits)
    with web.recognitions.taken():
        found = identify_pixels(web.home, web.index, web.networks, pixels)
        keep_unknown(web.home, web.networks, pixels, found)
    return pixels, [_shown(caller, number, one) for number, one in enumerate(found, 1)]


def _shown(caller: Caller, number: int, found: Recognized) -> Shown:
    left, top, right, bottom = found.face.box
    if caller.sees_scores:
        reason = found.reason
    elif found.person:
        reason = f"similarity about {quantized(found.similarity):.2f}"
    else:
        reason = "no person of the gallery is near enough, or two are equally near"
    seen = found.person or (found.nearest if caller.sees_scores else None)
    return Shown(
        number=number,
        box=(left, top, right - left, bottom - top),
        name=found.person[1] if found.person else "unknown",
        person_id=found.person[0] if found.person else None,
        nearest=found.nearest[1] if seen and found.nearest and not found.person else "",
        picture_id=found.picture_id if seen else None,
        reason=reason,
    )
