"""A server on stand-in networks, and clients of every kind."""

import contextlib
from importlib.util import find_spec

import pytest

WANTED = ("fastapi", "uvicorn", "jinja2", "python_multipart", "prometheus_client", "httpx2")
MISSING = [name for name in WANTED if find_spec(name) is None]
PASSWORD = "correct horse battery"


class SkippedModule(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self):
        pytest.skip(f"kd_face.web needs {', '.join(MISSING)}: pip install 'kdkit[face]' httpx2")


def pytest_pycollect_makemodule(module_path, parent):
    return SkippedModule.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    from argon2 import PasswordHasher

    from kd_face import users

    users._nobody.cache_clear()
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(users, "_HASHER", quick)
    yield
    users._nobody.cache_clear()


@pytest.fixture
def options():
    from kd_face.web.options import WebOptions

    return WebOptions(tls=True, hosts=("faces.test",))


@pytest.fixture
def app(home, networks, options):
    from kd_face import users
    from kd_face.web.app import create_app

    with home.write() as session:
        for role in users.ROLES:
            users.add(session, role, PASSWORD, role, "test")
    return create_app(home, networks, options)


@pytest.fixture
def client(app):
    """Yield a function that makes a client: of a role, with a key of scopes, or of nobody."""
    from starlette.testclient import TestClient

    from kd_face import keys, sessions

    home = app.state.web.home
    stack = contextlib.ExitStack()  # open, a client has one event loop for all its requests

    def make(role=None, scopes=()):
        client = stack.enter_context(
            TestClient(app, "https://faces.test", raise_server_exceptions=False)
        )
        client.follow_redirects = False
        if scopes:
            with home.write() as session:
                key = keys.create(session, "test", scopes, "test")
            client.headers["Authorization"] = f"Bearer {key}"
        if role:
            form = {"name": role, "password": PASSWORD}
            assert client.post("/login", data=form).status_code == 303
            token = client.cookies[app.state.web.options.cookie]
            with home.read() as session:
                client.headers["X-CSRF-Token"] = sessions.csrf_of(session, token)
        return client

    with stack:
        yield make
