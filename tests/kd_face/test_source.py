"""Source: nothing is unpickled or run that came from outside."""

import ast
from pathlib import Path

import pytest

import kd_face

FILES = sorted(Path(kd_face.__file__).parent.rglob("*.py"))
FORBIDDEN = {"eval", "exec", "compile", "read_index", "Markup", "from_string"}
MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "subprocess"}
LOADERS = {("np", "load"), ("numpy", "load"), ("torch", "load"), ("yaml", "load"), ("os", "system")}


def used(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            yield (owner, node.attr)
            if owner != "re":
                yield node.attr


@pytest.mark.parametrize("file", FILES, ids=lambda one: one.stem)
def test_no_file_unpickles_or_runs_what_it_reads(file):
    found = set(used(ast.parse(file.read_text()))) & (FORBIDDEN | MODULES | LOADERS)
    assert not found, file
