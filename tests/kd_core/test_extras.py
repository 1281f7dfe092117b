import pytest

from kd_core.extras import missing_package, require_packages


def test_what_is_installed_is_accepted():
    require_packages("this test", ("numpy", "torch"))


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
        "kd_core.extras.find_spec", lambda name: None if name == "faiss" else object()
    )
    with pytest.raises(ImportError, match="search needs faiss, which"):
        require_packages("search", ("timm", "faiss"))
