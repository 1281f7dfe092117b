"""Demonstration: its gallery, and the command that shows it."""

import itertools
import os
import re
import socket
from importlib.util import find_spec

import numpy as np
import pytest
from click.testing import CliRunner

from kd_face import users
from kd_face.demo import gallery
from kd_face.demo.drawn_faces import drawn_face
from kd_face.errors import FaceError
from kd_face.home import init_home, open_home
from kd_face.index import GalleryIndex
from kd_face.people import counts
from kd_face.recognition import identify
from kdkit.cli.face import command

from ..stand_ins import blocks, make_networks, png

needs_dlib = pytest.mark.skipif(
    find_spec("dlib") is None, reason="needs dlib and its networks: pip install 'kdkit[face]'"
)
needs_web = pytest.mark.skipif(
    any(find_spec(one) is None for one in ("fastapi", "uvicorn", "jinja2", "python_multipart")),
    reason="needs the web server: pip install 'kdkit[gallery]'",
)


def test_the_same_numbers_give_the_same_picture_and_others_another_one():
    one = drawn_face(0, 0)
    assert one.shape == (240, 240, 3)
    assert np.array_equal(one, drawn_face(0, 0))
    assert not np.array_equal(one, drawn_face(0, 1))
    assert not np.array_equal(one, drawn_face(1, 0))


@needs_dlib
def test_drawn_people_are_found_and_distinguished(home):
    from kd_face.networks import networks_of

    networks = networks_of(home)
    some = itertools.islice(gallery.drawn_gallery(), 12)  # of Ada, Bo and Cleo; drawing takes time
    said = list(gallery.fill(home, networks, some, "test"))
    assert "12 pictures, 0 refused" in said
    gallery.write_examples(home.folder / "examples")
    index = GalleryIndex(home)
    names = {}
    for path in sorted((home.folder / "examples").iterdir()):
        found = identify(home, index, networks, path.read_bytes(), path.name)
        names[path.name] = [one.person and one.person[1] for one in found]
    assert names["ada.png"] == ["Ada"]
    assert names["stranger.png"] == [None]
    assert names["not_a_face.png"] == []
    assert len(names["group.png"]) == 3
    assert "Bo" in names["group.png"]


def test_a_gallery_that_is_not_empty_stays_as_it_is(home):
    gallery.require_empty(home)
    with home.write() as session:
        users.add(session, "anna", "a long password", "viewer", "test")
    with pytest.raises(FaceError, match="has people or users"):
        gallery.require_empty(home)


def test_orl_is_read_in_the_order_of_its_numbers(tmp_path):
    for person in (*range(2, 30), 1):
        (tmp_path / f"s{person}").mkdir()
        for picture in range(1, 7):
            (tmp_path / f"s{person}" / f"{picture}.pgm").write_bytes(b"x")
    found = list(gallery.orl_gallery(tmp_path))
    assert len(found) == 80
    assert [one.person for one in found][::4] == [f"s{person}" for person in range(1, 21)]
    with pytest.raises(FaceError, match="must hold folders s1"):
        next(gallery.orl_gallery(tmp_path / "s1"))


@needs_web
class TestCommand:
    @pytest.fixture
    def call(self, tmp_path, monkeypatch):
        """Run the command on stand-in networks; return its output and what would be served."""
        import contextlib

        from kd_face import networks
        from kd_face.web import serve

        served = []
        monkeypatch.delenv("KD_FACE_DATABASE", raising=False)
        monkeypatch.setenv("KD_DATA", str(tmp_path / "nothing"))
        monkeypatch.setenv("KD_FACE_HOME", str(tmp_path / "real"))
        monkeypatch.setattr(
            "kdkit.cli.face.demonstration.errors", lambda *_: contextlib.nullcontext()
        )
        monkeypatch.setattr(networks, "networks_of", lambda _: make_networks())
        monkeypatch.setattr(gallery, "_DRAWN", ("Ada", "Bo"))

        def look(home, networks, listen, options):
            with home.read() as session:
                served.append((home.folder, counts(session), users.listed(session), listen))
            assert (home.folder / "examples" / "group.png").is_file()

        monkeypatch.setattr(serve, "serve", look)

        def run(*words, code=0):
            result = CliRunner().invoke(command, [str(word) for word in words])
            assert result.exit_code == code, result.output
            return result.output, served

        return run

    def test_it_serves_a_filled_installation_and_deletes_it(self, call, tmp_path):
        output, served = call("demo", "--port", 0)
        ((folder, count, (admin,), listen),) = served
        assert count == (2, 8)
        assert admin.role == "admin"
        assert listen.host == "127.0.0.1"
        assert "people who do not exist" in output
        password = re.search(r"password  (\S{16})\n", output).group(1)
        assert users._HASHER.verify(admin.password_hash, password)
        assert not folder.exists()
        assert not (tmp_path / "real").exists()

    def test_a_named_folder_stays_and_is_filled_once(self, call, tmp_path):
        _, served = call("--home", tmp_path / "kept", "demo", "--port", 0)
        assert served[0][0] == tmp_path / "kept"
        with open_home(tmp_path / "kept").read() as session:
            assert counts(session) == (2, 8)

    def test_a_database_that_is_set_and_a_port_in_use_are_refused(self, call, monkeypatch):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            output, _ = call("demo", "--port", taken.getsockname()[1], code=1)
        assert "is in use" in output
        monkeypatch.setenv("KD_FACE_DATABASE", "sqlite:///real.db")
        output, served = call("demo", code=1)
        assert "Unset it" in output
        assert not served


def test_what_the_gate_refuses_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.delenv("KD_FACE_DATABASE", raising=False)
    home = init_home(tmp_path / "home")
    some = [
        gallery.Example(f"p{person}", f"{number}.png", png(blocks(person, number)))
        for person in (1, 2)
        for number in (1, 2)
    ]
    some.append(gallery.Example("p3", "none.png", png(blocks(1) * 0)))
    said = list(gallery.fill(home, make_networks(), iter(some), "test"))
    assert said[0].startswith("refused: none.png: no face was found")
    assert said[1] == "4 pictures, 1 refused"
    assert os.listdir(home.folder / "blobs")
