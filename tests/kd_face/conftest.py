"""An empty installation on each database, and stand-ins of detector and embedder.

Tests with a database run on SQLite and on a private MariaDB, which starts at the first of them. The
marker ``databases`` names the kinds that a test is about. KD_FACE_TEST_DATABASE names one kind for
all tests instead: sqlite, mariadb or postgresql.
"""

import contextlib
import os
from importlib.util import find_spec

import pytest

KINDS = ("sqlite", "mariadb", "postgresql")
MISSING = [name for name in ("sqlalchemy", "alembic", "argon2", "faiss") if find_spec(name) is None]


class SkippedModule(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self):
        pytest.skip(f"kd_face needs {', '.join(MISSING)}: pip install 'kdkit[face]'")


def pytest_pycollect_makemodule(module_path, parent):
    return SkippedModule.from_parent(parent, path=module_path) if MISSING else None


def pytest_generate_tests(metafunc):
    if "database" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        possible = marker.args if marker else KINDS
        if kind := os.environ.get("KD_FACE_TEST_DATABASE"):
            kinds = [kind] if kind in possible else []
        else:
            kinds = [kind for kind in possible if kind != "postgresql"] or list(possible)
        metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture(scope="session")
def servers():
    """Start servers at their first use: kind to a function that makes a database, or None."""
    from .servers import server

    started = {}
    with contextlib.ExitStack() as stack:

        def get(kind):
            if kind not in started:
                started[kind] = stack.enter_context(server(kind))
            return started[kind]

        yield get


@pytest.fixture
def new_database(request, servers):
    """Return a function that makes an empty database and returns its URL; None for SQLite."""
    from .servers import MISSING as missing

    def make(kind):
        if kind == "sqlite":
            return None
        make_one = servers(kind)
        if make_one is None:
            pytest.skip(missing[kind])
        return make_one()

    return make


@pytest.fixture
def database(request, new_database, monkeypatch):
    """Have installations use an empty database; the value is its kind."""
    url = new_database(request.param)
    monkeypatch.delenv("KD_FACE_DATABASE", raising=False)
    if url is not None:
        monkeypatch.setenv("KD_FACE_DATABASE", url)
    return request.param


@pytest.fixture
def new_home(database, new_database, monkeypatch):
    """Return a function that makes another installation, on a database of the same kind."""
    from kd_face.home import init_home

    with contextlib.ExitStack() as stack:

        def make(folder, kind=database):
            with monkeypatch.context() as patch:
                if (url := new_database(kind)) is None:
                    patch.delenv("KD_FACE_DATABASE", raising=False)
                else:
                    patch.setenv("KD_FACE_DATABASE", url)
                made = init_home(folder)
            stack.callback(made.engine.dispose)
            return made

        yield make


@pytest.fixture
def home(database, tmp_path):
    from kd_face.home import init_home

    made = init_home(tmp_path / "home")
    yield made
    made.engine.dispose()


@pytest.fixture
def networks():
    from .stand_ins import make_networks

    return make_networks()
