import sys
import types

import pytest

from kd_core.packages import lazy_names


@pytest.fixture
def package(monkeypatch):
    """An empty package whose names are those of two other modules."""
    module = types.ModuleType("lazy_package")
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    homes = {"Fraction": "fractions", "gone": "no_such_module"}
    module.__getattr__, module.__dir__ = lazy_names("lazy_package", homes)
    return module


def test_a_name_is_imported_once_and_kept(package):
    from fractions import Fraction

    assert "Fraction" not in vars(package)
    assert package.Fraction is Fraction
    assert vars(package)["Fraction"] is Fraction


def test_names_are_listed_before_they_are_imported(package):
    assert {"Fraction", "gone", "__name__"} <= set(dir(package))


def test_another_name_is_no_attribute(package):
    assert not hasattr(package, "Fractions")
    with pytest.raises(AttributeError, match="'lazy_package' has no attribute 'Fractions'"):
        package.Fractions  # noqa: B018


def test_a_home_that_does_not_import_says_so(package):
    with pytest.raises(ImportError, match="no_such_module"):
        package.gone  # noqa: B018


def test_another_module_comes_first_except_for_plain_names(monkeypatch):
    module = types.ModuleType("lazy_package")
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    homes = {"Fraction": "fractions", "Decimal": "decimal"}
    get, _ = lazy_names("lazy_package", homes, first="no_such_module", plain=("Decimal",))
    assert get("Decimal").__name__ == "Decimal"
    with pytest.raises(ImportError, match="no_such_module"):
        get("Fraction")
