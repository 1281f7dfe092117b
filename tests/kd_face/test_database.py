"""Database: migrations make what the models say, and the database keeps its promises."""

from contextlib import ExitStack

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError

from kd_face.database.connect import connect
from kd_face.database.migrate import differences, require_current, upgrade
from kd_face.database.models import (
    AuditEntry,
    Base,
    Embedding,
    Person,
    Picture,
    UnknownFace,
)
from kd_face.errors import FaceError
from kd_face.home import init_home, open_home

from .stand_ins import blocks, enrol


def test_models_and_migrations_agree(home):
    assert differences(home.engine) == []
    names = set(inspect(home.engine).get_table_names())
    assert names == {*Base.metadata.tables, "alembic_version"}
    with home.write() as session:
        session.execute(text("ALTER TABLE person ADD COLUMN extra INTEGER"))
    assert differences(home.engine)  # the check can fail


def test_upgrading_twice_changes_nothing(home, networks):
    enrol(home, networks, 1, [0])
    upgrade(home.engine)
    with home.read() as session:
        assert session.scalars(select(Person.name)).all() == ["p1"]


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("KD_FACE_DATABASE", raising=False)
    with pytest.raises(FaceError, match="Run: kdkit face init"):
        open_home(tmp_path)
    with pytest.raises(FaceError, match="no tables"):
        require_current(connect("sqlite://"))


def test_tables_of_another_version_are_refused(home):
    with home.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(FaceError, match="version 0001, but they are of 9999"):
        open_home(home.folder)


def test_the_folder_is_its_owners_alone(tmp_path):
    assert init_home(tmp_path / "new").folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("url", ["mysql:// secret:pw", "oracle://scott:secret@host", "secret"])
def test_a_wrong_url_is_refused_without_its_password(url):
    with pytest.raises(FaceError) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_sqlite_has_a_log_and_erases(new_home, tmp_path):
    with new_home(tmp_path / "sqlite", "sqlite").engine.connect() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("foreign_keys", "journal_mode", "synchronous", "secure_delete")
        ]
    assert values == [1, "wal", 2, 1]


def test_every_thread_of_a_server_has_a_connection(home):
    with ExitStack() as stack:
        for _ in range(45):
            connection = stack.enter_context(home.engine.connect())
            assert connection.scalar(select(1)) == 1


def test_foreign_keys_hold(home):
    with pytest.raises(IntegrityError), home.write() as session:
        session.add(Embedding(picture_id=99, model_id=99, vector=b""))


def test_ids_of_pictures_are_never_used_twice(home, networks):
    from kd_face import pictures

    person, (first,) = enrol(home, networks, 1, [0])
    pictures.remove(home, first, "test")
    _, (second,) = enrol(home, networks, 1, [1])
    assert second > first


def test_ids_of_unknown_faces_are_never_used_twice(home, networks):
    """A form that was loaded before must not mean another face."""
    from kd_face import unknown_faces

    enrol(home, networks, 1, [0])
    with home.write() as session:
        unknown_faces.set_days(session, 1, "test")
    ids = []
    for number in (2, 3):
        (row,) = networks.embedder.embed([blocks(number)])
        ids.append(unknown_faces.keep(home, networks.embedder, blocks(number), row))
        with home.write() as session:
            session.delete(session.get_one(UnknownFace, ids[-1]))
    assert ids[1] > ids[0]


def test_an_error_rolls_back(home):
    with pytest.raises(ZeroDivisionError), home.write() as session:
        session.add(Person(name="x", created_at=session.scalar(select(AuditEntry.at))))
        raise ZeroDivisionError
    with home.read() as session:
        assert (
            not session.scalars(select(Person)).all() and not session.scalars(select(Picture)).all()
        )


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_entry SET actor = 'x'", "DELETE FROM audit_entry"]
)
def test_the_database_itself_keeps_the_audit_log(home, networks, statement):
    enrol(home, networks, 1, [0])
    with pytest.raises(DatabaseError, match="never changed"), home.write() as session:
        session.execute(text(statement))


@pytest.mark.databases("postgresql")
def test_the_audit_log_cannot_be_truncated(home, networks):
    enrol(home, networks, 1, [0])
    with pytest.raises(DatabaseError, match="never changed"), home.write() as session:
        session.execute(text("TRUNCATE audit_entry"))
