"""People and pictures of the load benchmark: a gallery, known faces, strangers and newcomers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.face.server import STAND_INS, stand_ins
from kd_face import pictures
from kd_face.demo import drawn_faces
from kd_face.demo.gallery import Example, drawn_gallery, orl_gallery
from kd_face.errors import FaceError
from kd_face.pictures import Networks

_PEOPLE, _PICTURES = 12, 3  # of the stand-ins
_OTHERS = 10  # strangers, and as many newcomers
_FURTHER = 9  # number of a picture that is not in the gallery


@dataclass(frozen=True)
class Cast:
    """What the clients send.

    Args:
        known: A further picture of each person of the gallery, under the person's name.
        strangers: Pictures of people who are never added.
        newcomers: Pictures of people who are.
    """

    known: list[Example]
    strangers: list[bytes]
    newcomers: list[bytes]


def gallery_of(networks: str, orl: Path | None) -> Iterator[Example]:
    """Yield the pictures of the gallery.

    Args:
        networks: That will recognize them.
        orl: Folder of ORL's faces; None for drawn ones.
    """
    if networks != STAND_INS:
        yield from orl_gallery(orl) if orl else drawn_gallery()
        return
    for person in range(_PEOPLE):
        for variant in range(_PICTURES):
            yield Example(f"p{person}", f"{variant}.png", _blocks(person, variant))


def cast_of(networks: str, orl: Path | None, names: Sequence[str], loaded: Networks) -> Cast:
    """Return what the clients send, of what the quality gate accepts.

    Args:
        networks: Their name.
        orl: Folder of ORL's faces; None for drawn ones.
        names: People of the gallery in their order.
        loaded: The networks.
    """
    everybody = sorted(orl.glob("s*")) if orl else []
    folders = [orl / name for name in names] if orl else []
    folders += [one for one in everybody if one not in folders]

    def picture(person: int, variant: int) -> bytes:
        if networks == STAND_INS:
            return _blocks(person, variant)
        if orl:
            return (folders[person] / f"{variant + 1}.pgm").read_bytes()
        return _drawn(person, variant)

    known = [Example(name, "known", picture(one, _FURTHER)) for one, name in enumerate(names)]
    most = len(folders) if orl else len(names) + 2 * _OTHERS
    others = [picture(one, 0) for one in range(len(names), min(most, len(names) + 2 * _OTHERS))]
    accepted = [one for one in others if _is_accepted(loaded, one)]
    return Cast(
        [one for one in known if _is_accepted(loaded, one.content)], accepted[::2], accepted[1::2]
    )


def _is_accepted(networks: Networks, content: bytes) -> bool:
    try:
        pictures.prepare(networks, content, "image")
    except FaceError:
        return False
    return True


def _blocks(person: int, variant: int) -> bytes:
    made = stand_ins()
    return bytes(made.png(made.blocks(person, variant)))


def _drawn(person: int, variant: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(drawn_faces.drawn_face(person, variant)).save(buffer, "PNG")
    return buffer.getvalue()
