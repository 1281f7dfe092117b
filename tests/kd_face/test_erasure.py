"""Erasure: nothing of a person is left, in no row and no file."""

import pytest
from sqlalchemy import select

from kd_face import (
    audit,
    erasure,
    people,
    pictures,
    reembed,
    review,
    settings,
    unknown_faces,
)
from kd_face.database.models import Embedding, Person, Picture, UnknownFace
from kd_face.errors import FaceError
from kd_face.index import GalleryIndex
from kd_face.recognition import Rule, set_rule

from .stand_ins import blocks, enrol, make_networks

NAME = "Zacharias Unmistakable"


def test_rows_and_blobs_go(home, networks):
    gone, _ = enrol(home, networks, 1, [0, 1])
    kept, (picture,) = enrol(home, networks, 2, [0])
    assert len(list(home.blobs)) == 3
    assert {home.blobs.path(one).stat().st_mode & 0o077 for one in home.blobs} == {0}
    assert erasure.erase(home, gone, "anna") == erasure.Erased(2, 0)
    with home.read() as session:
        assert session.scalars(select(Person.id)).all() == [kept]
        assert session.scalars(select(Picture.id)).all() == [picture]
        assert session.scalars(select(Embedding.picture_id)).all() == [picture]
        assert list(home.blobs) == session.scalars(select(Picture.blob)).all()
        audit.verify(session)
    with pytest.raises(FaceError, match="no person"):
        erasure.erase(home, gone, "anna")


def traces(home, vectors):
    """Return the files of an installation that hold a name or one of some embeddings."""
    found = set()
    for path in (one for one in home.folder.rglob("*") if one.is_file()):
        content = path.read_bytes()
        if NAME.encode() in content or any(one in content for one in vectors):
            found.add(path.name)
    return found


@pytest.fixture
def server(home):
    """Hold a connection, as a server does: with the last one SQLite empties its log by itself."""
    with home.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1 FROM person")
        connection.rollback()
        yield


def erase_person(home, person, _pictures):
    erasure.erase(home, person, "test")


def remove_pictures(home, person, ids):
    with home.write() as session:
        people.rename(session, person, "x", "test")
    for one in ids:
        pictures.remove(home, one, "test")


def merge_the_same(home, person, _pictures):
    """All pictures are the other person's as well, so that those of the first are deleted."""
    other, _ = enrol(home, make_networks(), 1, (), "other")
    with home.write() as session:
        for one in session.scalars(select(Picture).where(Picture.person_id == person)).all():
            session.add(
                Picture(
                    person_id=other,
                    blob=one.blob[::-1],
                    sha256=one.sha256,
                    name="x",
                    face=one.face,
                    created_at=one.created_at,
                )
            )
    people.merge(home, person, other, "test")


@pytest.mark.databases("sqlite")  # the files of a server are its own
@pytest.mark.parametrize("act", [erase_person, remove_pictures, merge_the_same])
@pytest.mark.usefixtures("server")
def test_no_file_holds_what_was_deleted(home, networks, act):
    person, ids = enrol(home, networks, 1, [0, 1], NAME)
    enrol(home, networks, 2, [0])
    GalleryIndex(home).save()
    with home.read() as session:
        chosen = select(Embedding.vector).where(Embedding.picture_id.in_(ids))
        vectors = session.scalars(chosen).all()
    assert {"faces.db-wal", "index.faiss"} <= traces(home, vectors)
    act(home, person, ids)
    assert traces(home, vectors) == set()


@pytest.mark.databases("sqlite")
@pytest.mark.usefixtures("server")
def test_no_file_holds_the_name_of_who_was_merged(home, networks):
    person, _ = enrol(home, networks, 1, [0], NAME)
    other, _ = enrol(home, networks, 2, [0])
    assert traces(home, []) == {"faces.db-wal"}
    people.merge(home, person, other, "test")
    assert traces(home, []) == set()


@pytest.mark.databases("sqlite")
@pytest.mark.usefixtures("server")
def test_no_file_holds_a_face_that_was_dismissed(home, seen):
    with home.read() as session:
        face = session.get_one(UnknownFace, 1)
    assert traces(home, [face.vector]) == {"faces.db-wal"}
    review.dismiss(home, 1, "test")
    assert traces(home, [face.vector]) == set()
    assert seen() == {2, 3}


def test_a_server_that_ends_keeps_no_embedding_of_theirs(home, networks, monkeypatch):
    gone, _ = enrol(home, networks, 1, [0])
    enrol(home, networks, 2, [0])
    index = GalleryIndex(home)
    with home.read() as session:
        index.refresh(session)
    erasure.erase(home, gone, "test")
    index.save()
    assert len(index) == 1
    other, _ = enrol(home, networks, 3, [0])
    save = index._save

    def erase_and_save():
        erasure.erase(home, other, "test")
        save()  # what was read before

    monkeypatch.setattr(index, "_save", erase_and_save)
    index.save()
    assert not list(home.folder.glob("index.*"))


@pytest.fixture
def seen(home, networks):
    """Keep unknown faces of three people; return whose faces wait."""
    enrol(home, networks, 9, [0])
    with home.write() as session:
        unknown_faces.set_days(session, 7, "test")
    kept = {}
    for person in (1, 2, 3):
        row = networks.embedder.embed([blocks(person, 1)])[0]
        kept[unknown_faces.keep(home, networks.embedder, blocks(person, 1), row)] = person

    def left():
        with home.read() as session:
            assert len(list(home.blobs)) == len(pictures.named_blobs(session))
            return {kept[one] for one in session.scalars(select(UnknownFace.id))}

    return left


def test_unknown_faces_that_look_alike_go_as_well(home, networks, seen):
    person, _ = enrol(home, networks, 1, [0])
    assert erasure.erase(home, person, "test") == erasure.Erased(1, 1)
    assert seen() == {2, 3}
    with home.write() as session:
        set_rule(session, networks, Rule(-1.0))  # everybody is alike
    person, _ = enrol(home, networks, 4, [0])
    assert erasure.erase(home, person, "test") == erasure.Erased(1, 2)
    assert seen() == set()


def test_a_network_goes_with_its_unknown_faces_and_settings(home, networks, seen):
    with home.write() as session:
        set_rule(session, networks, Rule(0.5))
    list(reembed.reembed(home, make_networks("2").embedder, "test"))
    reembed.forget(home, 1, "test")
    assert seen() == set()
    with home.read() as session:
        assert settings.get(session, "rule:1") is None
        assert settings.get(session, "previous_model") is None


def test_ids_of_networks_are_never_used_twice(home, networks):
    enrol(home, networks, 1, [0])
    for number in (2, 3):
        list(reembed.reembed(home, make_networks("2").embedder, "test"))
        with home.read() as session:
            assert settings.get(session, "active_model") == number
        list(reembed.reembed(home, networks.embedder, "test"))
        reembed.forget(home, number, "test")
