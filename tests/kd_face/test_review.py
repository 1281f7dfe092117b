"""Review: what is kept, what becomes of it, and that the same face is not kept twice."""

import numpy as np
import pytest
from sqlalchemy import select

from kd_face import audit, people, review, unknown_faces
from kd_face.database.models import AuditEntry, Picture
from kd_face.errors import FaceError
from kd_face.index import GalleryIndex
from kd_face.pictures import PictureRefused
from kd_face.recognition import identify_pixels

from .stand_ins import blocks, enrol


@pytest.fixture
def seen(home, networks):
    """Look at a picture with days of retention; return how many faces were kept."""
    enrol(home, networks, 1, (0, 1))
    enrol(home, networks, 2, (0, 1))
    with home.write() as session:
        unknown_faces.set_days(session, 3, "test")
    index = GalleryIndex(home)

    def look(pixels):
        found = identify_pixels(home, index, networks, pixels)
        return review.keep_unknown(home, networks, pixels, found)

    return look


def waiting(home):
    with home.read() as session:
        return review.waiting(session, 0, 10)


def test_only_unknown_faces_are_kept_and_each_once(home, seen):
    assert seen(blocks(1)) == 0  # known
    assert seen(np.concatenate([blocks(1), blocks(7)], 1)) == 1
    assert seen(blocks(7)) == 0  # the same again
    assert seen(blocks(8)) == 1
    faces, total = waiting(home)
    assert total == 2
    assert [face.id for face in faces] == [2, 1]
    assert len(list(home.blobs)) == 4 + 2


def test_nothing_is_kept_without_the_setting(home, seen):
    with home.write() as session:
        unknown_faces.set_days(session, 0, "test")
    assert seen(blocks(7)) == 0
    assert waiting(home) == ([], 0)


def test_an_assigned_face_is_recognized_from_then_on(home, networks, seen):
    seen(blocks(7))
    person = review.assign(home, networks, 1, " p7 ", "test")
    with home.read() as session:
        assert people.find(session, "p7").id == person
        assert session.scalars(select(Picture).where(Picture.person_id == person)).one()
        assert session.scalars(select(AuditEntry.action)).all()[-1] == "unknown.assign"
    assert waiting(home) == ([], 0)
    assert len(list(home.blobs)) == 5
    assert seen(blocks(7)) == 0
    with pytest.raises(FaceError, match="no unknown face 1"):
        review.assign(home, networks, 1, "p7", "test")


@pytest.mark.parametrize("last", ["person.create", "picture.add", "unknown.assign"])
def test_an_assignment_that_ends_in_the_middle_is_none(home, networks, seen, monkeypatch, last):
    seen(blocks(7))
    append = audit.append

    def end(session, actor, action, details):
        append(session, actor, action, details)
        if action == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(audit, "append", end)
        review.assign(home, networks, 1, "p7", "test")
    assert waiting(home)[1] == 1
    with home.read() as session:
        assert people.find(session, "p7") is None
    review.assign(home, networks, 1, "p7", "test")
    assert waiting(home) == ([], 0)


def test_a_face_that_the_gate_refuses_stays(home, networks, seen, monkeypatch):
    seen(blocks(7))
    monkeypatch.setattr(type(networks.gate), "reasons", lambda *_: ["the face is blurred"])
    with pytest.raises(PictureRefused, match="blurred"):
        review.assign(home, networks, 1, "p7", "test")
    assert waiting(home)[1] == 1
    with home.read() as session:
        assert people.find(session, "p7") is None


def test_a_dismissed_face_is_gone(home, seen):
    seen(blocks(7))
    review.dismiss(home, 1, "test")
    assert waiting(home) == ([], 0)
    assert len(list(home.blobs)) == 4
    with pytest.raises(FaceError, match="no unknown face"):
        review.dismiss(home, 1, "test")


def test_what_is_kept_has_its_surroundings(home, networks, seen):
    pixels = np.concatenate([blocks(1), blocks(7), blocks(1, 5)], 1)
    assert seen(pixels) == 1
    from kd_face.images import read_image

    kept = read_image(home.blobs.read(waiting(home)[0][0].blob), "kept")
    assert kept.shape == (96, 96 + 2 * round(96 * 0.6), 3)
