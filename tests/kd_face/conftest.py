"""An empty installation, and stand-ins of detector and embedder."""

from importlib.util import find_spec

import pytest

MISSING = [name for name in ("sqlalchemy", "alembic", "argon2", "faiss") if find_spec(name) is None]


class SkippedModule(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self):
        pytest.skip(f"kd_face needs {', '.join(MISSING)}: pip install 'kdkit[face]'")


def pytest_pycollect_makemodule(module_path, parent):
    return SkippedModule.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture
def home(tmp_path, monkeypatch):
    from kd_face.home import init_home

    monkeypatch.delenv("KD_FACE_DATABASE", raising=False)
    return init_home(tmp_path / "home")


@pytest.fixture
def networks():
    from .stand_ins import make_networks

    return make_networks()
