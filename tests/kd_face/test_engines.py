"""Databases of every kind: names, writers side by side, views of readers, lost connections."""

import threading
import time

import numpy as np
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from kd_face import audit, people, pictures, settings, spaces
from kd_face.database import connect as connections
from kd_face.database.connect import connect
from kd_face.database.migrate import differences, require_current, upgrade
from kd_face.database.models import Base, Embedding, Person, from_bytes, to_bytes
from kd_face.errors import FaceError
from kd_face.home import init_home

from .stand_ins import blocks, enrol, png

NAMES = [
    "zoe",
    "Zoe",
    "ZOE",
    "zo\u00eb",
    "Zo\u00eb",
    "stra\u00dfe",
    "strasse",
    "\U0001f642",
    "\U0001f643",
]


def test_names_that_differ_at_all_are_two_people(home):
    with home.write() as session:
        made = {name: people.create(session, name, "test").id for name in NAMES}
        assert {name: people.find(session, name).id for name in NAMES} == made
        with pytest.raises(FaceError, match="is taken"):
            people.create(session, "Zoe\u0308", "test")  # the same name, decomposed
        longest = "\U0001f642" * 200
        assert people.create(session, longest, "test").name == longest
    with home.read() as session:
        assert people.find(session, longest) is not None


@pytest.mark.databases("mariadb", "postgresql")  # SQLite has no length of a text
def test_what_is_too_long_is_an_error_and_never_cut(home):
    with pytest.raises(DBAPIError) as caught, home.write() as session:
        session.add(Person(name="secret" * 50, created_at=audit.now()))
        session.flush()
    assert "secret" not in str(caught.value)  # values do not come into logs


def test_people_are_found_by_any_case(home):
    with home.write() as session:
        for name in ("Zo\u00eb", "ZO\u00cbTROPE", "Zoe", "100%", "100x"):
            people.create(session, name, "test")
        for wanted, expected in [
            ("zO\u00cb", {"Zo\u00eb", "ZO\u00cbTROPE"}),
            ("zoe", {"Zoe"}),
            ("0%", {"100%"}),
            ("z\0oe", {"Zoe"}),
        ]:
            found, total = people.search(session, wanted, 0, 9)
            assert {person.name for person, _ in found} == expected and total == len(expected)


def test_long_rows_come_back_as_they_were(home, networks):
    row = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    _, (picture,) = enrol(home, networks, 1, [0])
    with home.write() as session:
        session.scalars(select(Embedding)).one().vector = to_bytes(row)
    with home.read() as session:
        assert np.array_equal(from_bytes(session.scalars(select(Embedding.vector)).one()), row)


@pytest.mark.parametrize("name", ["\udcff.png", "a\0b\n.png", "\U0001f642" * 300])
def test_every_name_of_a_file_can_be_stored(home, networks, name):
    with home.write() as session:
        person = people.create(session, "a", "test").id
    ready = pictures.prepare(networks, png(blocks(1)), name)
    assert pictures.add(home, person, networks, ready, "test") == 1


def run_together(*functions):
    """Run functions in threads; raise what one of them raised."""
    failed = []

    def guard(function):
        try:
            function()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guard, args=(one,)) for one in functions]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120)
    assert not any(one.is_alive() for one in threads)
    if failed:
        raise failed[0]


def test_writers_side_by_side_lose_nothing(home, networks, monkeypatch):
    """All begin with an empty gallery, so that each would make the space and the first entry."""
    entries = audit.append
    monkeypatch.setattr(audit, "append", lambda *args: time.sleep(0.05) or entries(*args))
    ready = [pictures.prepare(networks, png(blocks(1, n)), f"{n}.png") for n in range(12)]
    begin = threading.Barrier(4)

    def writer(number):
        def work():
            begin.wait()
            with home.write() as session:
                person = people.create(session, f"p{number}", "test").id
            for one in ready[number::4]:
                pictures.add(home, person, networks, one, "test")

        return work

    run_together(*(writer(number) for number in range(4)))
    with home.read() as session:
        assert people.counts(session) == (4, 12)
        assert settings.get(session, settings.CHANGE) == 12
        assert audit.verify(session)[0] == 4 + 12 + 1  # and one for the space
        spaces.require_active(session, networks.embedder)


def test_a_reader_keeps_its_view(home, networks):
    enrol(home, networks, 1, [0])
    with home.read() as session:
        assert people.counts(session) == (1, 1)
        enrol(home, networks, 2, [0])
        assert people.counts(session) == (1, 1)
    with home.read() as session:
        assert people.counts(session) == (2, 2)


def test_a_writer_waits_and_then_says_why(new_home, tmp_path, database, monkeypatch):
    monkeypatch.setattr(connections, "_WAIT", 1)
    home = new_home(tmp_path / "slow")
    with home.write(), pytest.raises(FaceError, match="cannot be written to"), home.write():
        pass
    with home.write() as session:
        people.create(session, "a", "test")


@pytest.mark.databases("mariadb", "postgresql")  # SQLite has no server
def test_a_connection_that_was_lost_is_opened_again(home):
    kind = home.engine.dialect.name
    own, kill = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    }.get(kind, ("SELECT CONNECTION_ID()", "KILL {}"))
    with home.read() as session:
        lost = session.scalar(text(own))
    with connect(home.engine.url.render_as_string(False)).connect() as other:
        other.execute(text(kill.format(lost)))
    with home.read() as session:
        assert session.scalar(text(own)) != lost


def test_two_upgrades_at_once(home):
    opened = [connect(home.engine.url.render_as_string(False)) for _ in range(2)]
    with home.write() as session:
        session.execute(text("DELETE FROM alembic_version"))
        for table in reversed(Base.metadata.sorted_tables):
            table.drop(session.connection())
        if home.engine.dialect.name == "postgresql":
            session.execute(text("DROP FUNCTION audit_refuse()"))
    run_together(*(lambda one=one: upgrade(one) for one in opened))
    assert not differences(home.engine)
    require_current(home.engine)


@pytest.mark.databases("mariadb")  # the others compare exactly by themselves
def test_every_text_is_compared_exactly(home):
    here = "WHERE table_schema = DATABASE()"
    with home.read() as session:
        found = session.scalars(
            text(f"SELECT DISTINCT collation_name FROM information_schema.columns {here}")
        ).all()
        assert set(found) - {None} == {"utf8mb4_bin"}
        found = session.scalars(
            text(f"SELECT DISTINCT engine FROM information_schema.tables {here}")
        ).all()
        assert found == ["InnoDB"]


@pytest.mark.databases("postgresql")  # the others know all letters by themselves
def test_a_locale_without_letters_is_refused(home, tmp_path, monkeypatch):
    engine = home.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE ascii LOCALE 'C' TEMPLATE template0"))
    url = home.engine.url.set(database="ascii").render_as_string(False)
    monkeypatch.setenv("KD_FACE_DATABASE", url)
    with pytest.raises(FaceError, match="must have a locale .* but it has C. .*C.UTF-8"):
        init_home(tmp_path / "ascii")


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setattr("kd_core.packages.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"needs pymysql.*pip install 'kdkit\[mariadb\]'"):
        connect("mariadb://somebody@host/faces")
    with pytest.raises(ImportError, match=r"needs psycopg.*pip install 'kdkit\[postgresql\]'"):
        connect("postgresql://somebody@host/faces")
