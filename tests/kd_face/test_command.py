"""Command kdkit face: the whole way on real pictures with dlib, and its errors."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdkit.cli.face import command

ORL = Path(os.environ.get("KD_DATA", "data"), "orl_faces")
needs_dlib = pytest.mark.skipif(
    find_spec("dlib") is None, reason="needs dlib and its networks: pip install 'kdkit[face]'"
)


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.delenv("KD_FACE_DATABASE", raising=False)
    runner = CliRunner()

    def run(*words, code=0, given=None):
        words = ["--home", str(tmp_path / "home"), *map(str, words)]
        result = runner.invoke(command, words, input=given)
        if isinstance(result.exception, ImportError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--host 0.0.0.0", "must listen on loopback"),
        ("--behind-tls-proxy 10.0.0.1", "by --name"),
        ("--behind-tls-proxy proxy", "an address is needed"),
    ],
)
def test_an_unsafe_server_is_refused_before_anything_is_looked_for(
    call, without_dlib, words, message
):
    assert message in call("serve", *words.split(), code=1)


@pytest.fixture
def without_dlib(monkeypatch):
    monkeypatch.setattr(
        "kd_core.packages.find_spec", lambda name: None if name == "dlib" else find_spec(name)
    )


@pytest.mark.parametrize("words", ["calibrate", "reembed", "import .", "unknown assign 1 a"])
def test_an_installation_is_asked_for_before_dlib(call, without_dlib, words):
    assert "Run: kdkit face init" in call(*words.split(), code=1)


@pytest.mark.parametrize("words", ["calibrate", "reembed", "import ."])
def test_dlib_is_asked_for_where_there_is_an_installation(call, without_dlib, words):
    call("init")
    with pytest.raises(ImportError, match=r"needs dlib.*kdkit\[face\]"):
        call(
            *words.split(),
        )
    assert "no earlier network" in call("reembed", "--roll-back", code=1)


@needs_dlib
def test_without_an_installation_the_remedy_is_named(call, tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    assert "Run: kdkit face init" in call("identify", tmp_path / "a.png", code=1)
    call("init")
    assert "must be a JPEG" in call("identify", tmp_path / "a.png", code=1)


def test_a_user_is_made_by_a_password_that_is_asked_for(call):
    call("init")
    word = "correct horse battery\n"
    assert "anna: admin" in call("user", "add", "Anna", "--role", "admin", given=word * 2)
    assert "already" in call("user", "add", "anna", "--role", "admin", given=word * 2, code=1)
    assert "12 to 1024" in call("user", "add", "bob", "--role", "viewer", given="a\na\n", code=1)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("kd_core.packages.find_spec", lambda _: None)
    result = CliRunner().invoke(command, ["--home", str(tmp_path / "home"), "init"])
    assert isinstance(result.exception, ImportError)
    assert "pip install 'kdkit[face" in str(result.exception)
    assert not (tmp_path / "home").exists()


@needs_dlib
@pytest.mark.skipif(not ORL.is_dir(), reason="KD_DATA holds no orl_faces")
def test_the_whole_way_with_dlib(call, tmp_path):
    for person in ("s11", "s12"):
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in (1, 2):
            place = tmp_path / "faces" / person / f"{number}.pgm"
            place.write_bytes((ORL / person / place.name).read_bytes())
    call("init")
    assert "4 added" in call("import", tmp_path / "faces")
    assert "4 known" in call("import", tmp_path / "faces")
    assert call("identify", ORL / "s11" / "3.pgm").startswith("'s11' at ")
    assert call("identify", ORL / "s13" / "3.pgm").startswith("unknown at ")
    assert "2 people, 4 pictures" in call("calibrate", "--far", "0.01")
    assert "4 pictures" in call("backup", tmp_path / "a.zip")
    assert "4 pictures" in call("--home", tmp_path / "new", "restore", tmp_path / "a.zip")
    assert (tmp_path / "new" / "faces.db").is_file()
