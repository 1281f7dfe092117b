"""Commands that manage people, users, keys, the audit log and unknown faces."""

import csv
import json

import pytest
from click.testing import CliRunner

from kd_face import audit, keys, people, unknown_faces, users
from kd_face.home import open_home
from kdkit.cli.face import command

from .stand_ins import blocks, enrol

WORD = "correct horse battery\n"


@pytest.fixture
def call(home):
    def run(*words, code=0, given=None):
        words = ["--home", str(home.folder), *map(str, words)]
        result = CliRunner().invoke(command, words, input=given)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_people(home, networks, call):
    enrol(home, networks, 1, [0, 1], "Zo\u00eb")
    enrol(home, networks, 2, [0], "Bob")
    assert call("people", "list").splitlines() == ["     1  Bob", "     2  Zo\u00eb", "2 people"]
    assert "1 people" in call("people", "list", "--find", "bO")
    assert "no person 'Eve'" in call("people", "rename", "Eve", "Bob", code=1)
    assert "is taken" in call("people", "rename", "Bob", "Zo\u00eb", code=1)
    assert "Bob is Bert now" in call("people", "rename", "Bob", "Bert")
    call("people", "merge", "Bert", "Zo\u00eb")
    assert call("people", "list").splitlines() == ["     3  Zo\u00eb", "1 people"]
    call("people", "delete", "Zo\u00eb", given="n\n", code=1)
    assert "with 3 pictures" in call("people", "delete", "Zo\u00eb", given="y\n")
    with home.read() as session:
        assert people.counts(session) == (0, 0) and not list(home.blobs)


def test_users(home, call):
    for name in ("anna", "bob"):
        call("user", "add", name, "--role", "admin", given=WORD * 2)
    assert call("user", "list") == "anna: admin\nbob: admin\n"
    call("user", "disable", "Bob")
    assert "last admin" in call("user", "disable", "anna", code=1)
    assert call("user", "list") == "anna: admin\nbob: admin, disabled\n"
    call("user", "enable", "bob")
    call("user", "password", "bob", given="another good one\n" * 2)
    assert users.authenticate(home, "bob", "another good one")
    assert not users.authenticate(home, "bob", WORD.strip())
    assert "no user eve" in call("user", "password", "eve", given=WORD * 2, code=1)


def test_keys(home, call):
    made = call("key", "add", "door", "--scope", "identify", "--scope", "verify").strip()
    prefix = made.split("_")[1]
    assert call("key", "list") == f"{prefix}  active  identify,verify  door\n"
    with home.read() as session:
        assert keys.find(session, made).name == "door"
    call("key", "revoke", prefix)
    assert "revoked" in call("key", "list") and made not in call("key", "list")
    with home.read() as session:
        assert keys.find(session, made) is None
    assert "no key" in call("key", "revoke", prefix, code=1)
    assert "needs scopes" in call("key", "add", "door", "--scope", "root", code=1)


def test_the_audit_log(home, call, tmp_path):
    with home.write() as session:
        for actor in ("=HYPERLINK(1)", "anna", "@bob"):
            audit.append(session, actor, "test", {"name": "-1"})
    assert call("audit", "show", "--last", 2).split()[3:5] == ["anna", "test"]
    assert "3 entries fit" in call("audit", "verify")
    call("audit", "export", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["actor"] for row in rows] == ["'=HYPERLINK(1)", "anna", "'@bob"]
    assert json.loads(rows[0]["details"]) == {"name": "-1"} and len(rows[2]["hash"]) == 64
    assert (tmp_path / "a.csv").stat().st_mode & 0o077 == 0


def test_unknown_faces(home, networks, call, monkeypatch):
    monkeypatch.setattr("kdkit.cli.face.opening.require_packages", lambda *_: None)
    monkeypatch.setattr("kd_face.networks.networks_of", lambda _: networks)
    enrol(home, networks, 1, [0])
    call("unknown", "days", 3)
    for person in (5, 6):
        crop = blocks(person)
        (row,) = networks.embedder.embed([crop])
        assert unknown_faces.keep(home, networks.embedder, crop, row)
    assert call("unknown", "list").endswith("2 faces\n")
    call("unknown", "assign", 1, "Eve")
    call("unknown", "dismiss", 2)
    assert call("unknown", "list") == "0 faces\n"
    with open_home(home.folder).read() as session:
        assert people.find(session, "Eve") and people.counts(session) == (2, 2)
    assert "no unknown face 2" in call("unknown", "dismiss", 2, code=1)
    assert "0 to 365" in call("unknown", "days", 999, code=1)
