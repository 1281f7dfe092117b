"""People and pictures: what is created, merged and deleted, with everything that belongs to it."""

import os
import time

import pytest
from sqlalchemy import func, select

from kd_face import people, pictures, unknown_faces
from kd_face.database.models import Person, Picture, UnknownFace
from kd_face.errors import FaceError
from kd_face.pictures import PictureKnown, PictureRefused

from .stand_ins import blocks, enrol, make_networks, png


def count(home, table):
    with home.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_names(home):
    with home.write() as session:
        first = people.create(session, "  Zoe\u0308 ", "test")
        assert first.name == "Zo\u00eb"
        with pytest.raises(FaceError, match="is taken"):
            people.create(session, "Zo\u00eb", "test")
        for wrong in ("", " ", "x" * 201, "a\nb", "a\u202eb"):
            with pytest.raises(FaceError, match="1 to 200"):
                people.create(session, wrong, "test")
        for name in ("<script>alert(1)</script>", "{{7*7}}", "'; DROP TABLE person; --"):
            assert people.create(session, name, "test").name == name
        people.rename(session, first.id, "Anna", "test")
        with pytest.raises(FaceError, match="is taken"):
            people.rename(session, first.id, "{{7*7}}", "test")
        with pytest.raises(FaceError, match="no person 99"):
            people.rename(session, 99, "x", "test")


def test_merging_drops_what_both_have(home, networks):
    first, _ = enrol(home, networks, 1, [0, 1], "a")
    second, _ = enrol(home, networks, 1, [1, 2], "b")
    people.merge(home, first, second, "test")
    with home.read() as session:
        assert session.scalars(select(Person.name)).all() == ["b"]
        owners = session.scalars(select(Picture.person_id)).all()
        assert owners == [second] * 3
        assert sorted(home.blobs) == sorted(session.scalars(select(Picture.blob)))
    with pytest.raises(FaceError, match="with itself"):
        people.merge(home, second, second, "test")
    with pytest.raises(FaceError, match="no person"):
        people.merge(home, first, second, "test")


def test_the_gate_refuses_with_reasons_and_writes_nothing(home, networks):
    two = png(blocks(1).repeat(1, 0)[:, list(range(96)) * 2])
    with pytest.raises(PictureRefused, match="2 faces were found"):
        pictures.prepare(networks, two, "two.png")
    with pytest.raises(PictureRefused, match="no face was found"):
        pictures.prepare(networks, png(blocks(1) * 0), "none.png")
    assert not list(home.blobs) and not count(home, Picture)


def test_the_same_file_twice_leaves_no_blob(home, networks):
    person, _ = enrol(home, networks, 1, [0])
    ready = pictures.prepare(networks, png(blocks(1)), "again.png")
    with pytest.raises(PictureKnown, match="same file already"):
        pictures.add(home, person, networks, ready, "test")
    assert len(list(home.blobs)) == count(home, Picture) == 1


def test_spaces_never_mix(home, networks):
    person, _ = enrol(home, networks, 1, [0])
    other = make_networks("2")
    ready = pictures.prepare(other, png(blocks(1, 1)), "b.png")
    with pytest.raises(FaceError, match="embedded by blocks 1, but the network is blocks 2"):
        pictures.add(home, person, other, ready, "test")
    assert len(list(home.blobs)) == count(home, Picture) == 1


def test_sweeping_takes_old_orphans_alone(home, networks):
    enrol(home, networks, 1, [0])
    old, new = home.blobs.add(b"old"), home.blobs.add(b"new")
    os.utime(home.blobs.path(old), (time.time() - 7200,) * 2)
    assert pictures.sweep(home) == 1
    assert old not in list(home.blobs) and new in list(home.blobs) and len(list(home.blobs)) == 2


def test_ids_of_blobs_say_nothing_about_their_content(home):
    assert len({home.blobs.add(b"the same") for _ in range(3)}) == 3


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "\n"])
def test_only_ids_are_paths(home, name):
    with pytest.raises(FaceError, match="32 hex digits"):
        home.blobs.path(name)


def test_unknown_faces_are_kept_only_if_wanted_and_expire(home, networks, monkeypatch):
    enrol(home, networks, 1, [0])
    crop = blocks(5)
    (row,) = networks.embedder.embed([crop])
    assert unknown_faces.keep(home, networks.embedder, crop, row) is None
    with home.write() as session:
        unknown_faces.set_days(session, 2, "test")
    assert unknown_faces.keep(home, networks.embedder, crop, row) == 1
    assert unknown_faces.expire(home) == 0 and len(list(home.blobs)) == 2
    later = unknown_faces.now() + unknown_faces.timedelta(days=2)
    monkeypatch.setattr(unknown_faces, "now", lambda: later)
    assert unknown_faces.expire(home) == 1
    assert len(list(home.blobs)) == 1 and not count(home, UnknownFace)
    with home.write() as session, pytest.raises(FaceError, match="0 to 365 days"):
        unknown_faces.set_days(session, 400, "test")


def test_people_are_found_by_a_part_of_their_names(home, networks):
    enrol(home, networks, 1, (0, 1), "Änne Berg")
    enrol(home, networks, 2, (0,), "100 % Bergmann")
    with home.write() as session:
        people.create(session, "zoe", "test")
        people.create(session, "Adam", "test")
    with home.read() as session:

        def found(text, offset=0, limit=10):
            rows, total = people.search(session, text, offset, limit)
            return [(person.name, count) for person, count in rows], total

        assert found("BERG") == ([("100 % Bergmann", 1), ("Änne Berg", 2)], 2)
        assert found("%") == ([("100 % Bergmann", 1)], 1)
        assert found("_") == ([], 0)
        rows, total = found("", 1, 2)
        assert total == 4
        assert [name for name, _ in rows] == ["Adam", "zoe"]
