import re
from pathlib import Path
from unittest import mock

import pytest

from kd_core.packages import _EXTRAS, missing_package, require_packages

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
DISTRIBUTIONS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "faiss": "faiss-cpu",
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "argon2": "argon2-cffi",
    "dlib": "dlib-bin",
}
APART = ("ray", "face", "mariadb", "postgresql")  # not in "all": large, or of one application


def brought(extra, extras):
    """Return the distributions of an extra, and of those that it takes in."""
    found = set()
    for requirement in extras[extra]:
        name, _, inner = requirement.partition("[")
        if name == "kdkit":
            found |= {one for other in inner[:-1].split(",") for one in brought(other, extras)}
        else:
            found.add(re.match(r"[\w-]+", requirement)[0].replace("-", "_"))
    return found


def test_each_extra_brings_what_is_said_of_it():
    tomllib = pytest.importorskip("tomllib")
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    for package, extra in _EXTRAS.items():
        distribution = DISTRIBUTIONS.get(package, package).replace("-", "_")
        assert distribution in brought(extra, extras), package
        assert (distribution in brought("all", extras)) == (extra not in APART), package
    upstream = brought("openmmlab", extras)
    assert {"mmengine", "mmcv_lite", "mmdet", "torchvision"} <= upstream
    assert not any(name.startswith("onedl") for name in upstream)


def test_what_is_installed_is_accepted():
    require_packages("this test", ("numpy", "torch"))
    with mock.patch("kd_core.packages.find_spec", lambda name: None if name == "faiss" else name):
        require_packages("this test", ("numpy", "torch"))
        with pytest.raises(ImportError, match="this test needs faiss, which this"):
            require_packages("this test", ("numpy", "faiss"))


def test_each_missing_package_names_its_extra_and_the_user():
    error = missing_package("an index", "faiss")
    assert isinstance(error, ImportError) and error.name == "faiss"
    assert str(error).startswith("an index needs faiss, which")
    assert str(error).endswith("pip install 'kdkit[retrieval]'")


def test_several_extras_are_one_command():
    text = str(missing_package("a run", "mmengine", "mmdet", "timm"))
    assert "needs mmengine, mmdet, timm" in text
    assert "pip install 'kdkit[onedl,cls]' (or [openmmlab] instead of [onedl]" in text


def test_only_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(
        "kd_core.packages.find_spec", lambda name: None if name == "faiss" else object()
    )
    with pytest.raises(ImportError, match="search needs faiss, which"):
        require_packages("search", ("timm", "faiss"))
