"""Backup and restore: all or nothing, and only what matches its manifest."""

import itertools
import threading
import zipfile

import pytest
from sqlalchemy import select

from kd_face import audit, erasure, people, users
from kd_face.backup import back_up, restore
from kd_face.database.models import Base, LoginSession
from kd_face.errors import FaceError
from kd_face.index import GalleryIndex
from kd_face.recognition import identify

from .stand_ins import blocks, enrol, png


def content(home):
    with home.read() as session:
        return {
            table.name: session.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in Base.metadata.sorted_tables
            if table.name != LoginSession.__tablename__
        }


@pytest.fixture
def saved(home, networks, tmp_path):
    enrol(home, networks, 1, [0, 1], "Zo\u00eb")
    enrol(home, networks, 2, [0])
    with home.write() as session:
        users.add(session, "anna", "correct horse battery", "admin", "test")
    assert back_up(home, tmp_path / "a.zip")[1] == 3
    return tmp_path / "a.zip"


def test_everything_comes_back(home, new_home, networks, saved, tmp_path):
    before, new = content(home), new_home(tmp_path / "new")
    restore(new, saved, "test")
    after = content(new)
    assert {
        name: rows for name, rows in after.items() if name not in ("audit_entry", "setting")
    } == {name: rows for name, rows in before.items() if name not in ("audit_entry", "setting")}
    assert after["audit_entry"][:-1] == before["audit_entry"]
    assert after["audit_entry"][-1].action == "restore"
    assert sorted(new.blobs) == sorted(home.blobs)
    found = identify(new, GalleryIndex(new), networks, png(blocks(1)), "a")
    assert found[0].person[1] == "Zo\u00eb"
    assert users.authenticate(new, "anna", "correct horse battery")
    with new.read() as session:
        audit.verify(session)
    enrol(new, networks, 3, [0])  # ids go on


def test_the_file_is_its_owners_alone(saved):
    assert saved.stat().st_mode & 0o077 == 0


def test_only_an_empty_installation_is_filled(home, saved):
    with pytest.raises(FaceError, match="only restored into an installation without people"):
        restore(home, saved, "test")


def rewritten(source, target, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            for key, value in change(name, old.read(name)).items():
                new.writestr(key, value)
    return target


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda n, c: {n: c[:-1] + b"x" if n.startswith("blobs/") else c}, "damaged in blobs/"),
        (lambda n, c: {n: c.replace(b"admin", b"owner")}, "damaged in tables/"),
        (lambda n, c: {} if n.startswith("blobs/") else {n: c}, "does not hold what"),
        (lambda n, c: {} if n == "tables/user.jsonl" else {n: c}, "does not hold what"),
        (lambda n, c: {n: c, f"blobs/../{n}": c}, "does not hold what"),
        (lambda n, c: {} if n == "manifest.json" else {n: c}, "no manifest"),
        (lambda n, c: {n: c.replace(b'"0001"', b'"0009"')}, "version 0001, but it is of 0009"),
    ],
)
def test_what_does_not_match_is_refused_and_nothing_is_written(
    saved, new_home, tmp_path, change, reason
):
    damaged, new = rewritten(saved, tmp_path / "b.zip", change), new_home(tmp_path / "new")
    before = content(new)
    with pytest.raises(FaceError, match=reason):
        restore(new, damaged, "test")
    assert content(new) == before and not list(new.blobs)


def test_a_cut_file_is_refused(saved, new_home, tmp_path):
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(FaceError, match="cannot be read as a backup"):
        restore(new_home(tmp_path / "new"), saved, "test")


def test_a_missing_blob_leaves_the_backup_before(home, saved):
    before = saved.read_bytes()
    home.blobs.delete([next(iter(home.blobs))])
    with pytest.raises(FaceError, match="is gone, and 0 others"):
        back_up(home, saved)
    assert saved.read_bytes() == before and len(list(saved.parent.glob(".*"))) == 0


def test_an_erased_person_is_not_in_a_new_backup(home, saved):
    with home.read() as session:
        person = people.find(session, "Zo\u00eb").id
    erasure.erase(home, person, "test")
    back_up(home, saved)
    with zipfile.ZipFile(saved) as archive:
        text = b"".join(archive.read(one) for one in archive.namelist() if "tables" in one)
        assert b"Zo" not in text and sum("blobs/" in one for one in archive.namelist()) == 1


def test_it_is_one_moment_while_others_write(home, new_home, networks, saved, tmp_path):
    """Pictures come and go all the time; the backup has rows and blobs of one moment."""
    stop, failed = threading.Event(), []

    def write():
        try:
            for number in itertools.count(10):
                person, _ = enrol(home, networks, number, [0, 1])
                erasure.erase(home, person, "test")
                if stop.is_set():
                    return
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            back_up(home, saved)
    finally:
        stop.set()
        writer.join()
    assert not failed
    new = new_home(tmp_path / "new")
    restore(new, saved, "test")
    with new.read() as session:
        audit.verify(session)
        assert people.find(session, "Zo\u00eb")


@pytest.mark.databases("mariadb", "postgresql")
def test_sqlite_moves_to_a_server(new_home, networks, database, tmp_path):
    old, new = new_home(tmp_path / "old", "sqlite"), new_home(tmp_path / "new")
    enrol(old, networks, 1, [0, 1], "Zo\u00eb \U0001f642")
    back_up(old, tmp_path / "a.zip")
    restore(new, tmp_path / "a.zip", "test")
    before, after = content(old), content(new)
    assert after["embedding"] == before["embedding"] and after["person"] == before["person"]
    assert identify(new, GalleryIndex(new), networks, png(blocks(1)), "a")[0].person
    person, _ = enrol(new, networks, 2, [0])
    assert person == 2
    back_up(new, tmp_path / "b.zip")
    restore(new_home(tmp_path / "third", "sqlite"), tmp_path / "b.zip", "test")
