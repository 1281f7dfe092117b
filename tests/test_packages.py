"""Packages: installed ones need none that is not installed."""

import ast
from fnmatch import fnmatchcase

from .project_file import PROJECT, ROOT

NOT_INSTALLED = {"benchmarks", "examples", "tests", "tools"}


def packages():
    """Return the top-level packages that setuptools takes into the wheel."""
    patterns = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = (path.parent for path in ROOT.glob("*/__init__.py"))
    return {
        folder.name for folder in folders if any(fnmatchcase(folder.name, one) for one in patterns)
    }


def imports_of(path):
    """Yield the top-level names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_what_stays_in_the_repository_is_not_installed():
    assert packages() >= {"kdkit", "kd_core", "kd_engine", "kd_det", "kd_retrieval", "kd_cls"}
    assert not packages() & NOT_INSTALLED


def test_installed_packages_import_none_of_it():
    wrong = {
        str(path.relative_to(ROOT)): found
        for package in packages()
        for path in (ROOT / package).rglob("*.py")
        if (found := NOT_INSTALLED & set(imports_of(path)))
    }
    assert not wrong
