"""Detector and embedder without a network: a face is a square of 8 x 8 gray blocks.

An image of 96 x 96 is one face, one of 192 x 96 two, a black one none.
"""

import contextlib
import io

import numpy as np
from PIL import Image
from sqlalchemy import text

from kd_face import people, pictures
from kd_face.alignment import TEMPLATE
from kd_face.detection import Face
from kd_face.embedders import unit_rows
from kd_face.pictures import Networks

SIDE = 96


class BlockDetector:
    def detect(self, pixels):
        if not pixels.any():
            return []
        height, width = pixels.shape[:2]
        return [
            Face((left, 0.0, left + height, height), TEMPLATE * height / 112 + [left, 0], 1.0)
            for left in np.arange(0.0, width - height + 1, height)
        ]


class BlockEmbedder:
    name, version, dim, threshold = "blocks", "1", 64, 0.9

    def __init__(self, version="1"):
        self.version = version

    def crop(self, pixels, face):
        left, top, right, bottom = map(int, face.box)
        return pixels[top:bottom, left:right]

    def embed(self, crops):
        rows = [
            np.asarray(
                Image.fromarray(one).convert("L").resize((8, 8), Image.Resampling.BOX), float
            )
            for one in crops
        ]
        rows = np.array([(row - row.mean()).ravel() for row in rows]).reshape(-1, 64)
        return unit_rows(rows) if self.version == "1" else unit_rows(rows[:, ::-1])


def make_networks(version="1"):
    return Networks(BlockDetector(), BlockEmbedder(version))


def blocks(person, variant=0, noise=20.0):
    """Return the pixels of a picture of a person."""
    base = np.random.default_rng(person).uniform(40, 215, (8, 8))
    drawn = base + np.random.default_rng((person, variant)).normal(0, noise, (8, 8)) * (variant > 0)
    gray = np.clip(drawn, 1, 255).astype(np.uint8).repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)
    return np.stack([gray] * 3, -1)


def png(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


def enrol(home, networks, person, variants, name=None):
    """Add a person with pictures; return the person's id and the pictures'."""
    with home.write() as session:
        found = people.find(session, name or f"p{person}") or people.create(
            session, name or f"p{person}", "test"
        )
    ids = []
    for variant in variants:
        ready = pictures.prepare(networks, png(blocks(person, variant)), f"{variant}.png")
        ids.append(pictures.add(home, found.id, networks, ready, "test"))
    return found.id, ids


@contextlib.contextmanager
def undefended(home):
    """Open a session that writes in a database without the triggers of the audit log."""
    table = " ON audit_entry" if home.engine.dialect.name == "postgresql" else ""
    with home.write() as session:
        session.execute(text(f"DROP TRIGGER audit_no_update{table}"))
        session.execute(text(f"DROP TRIGGER audit_no_delete{table}"))
        yield session
