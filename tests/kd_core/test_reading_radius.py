"""Reading radius: the number of our modules that a reader of one module has to open."""

import ast
from pathlib import Path

import kd_core

ROOT = Path(kd_core.__file__).parent


def imported(module):
    """The modules of kd_core that a module imports itself, anywhere in its file."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    assert "kd_core" not in names, "an import from the package hides the module"
    return {name.removeprefix("kd_core.") for name in names if name.startswith("kd_core.")}


def to_read(module):
    waiting, seen = [module], set()
    while waiting:
        waiting += imported(waiting.pop()) - seen
        seen |= set(waiting)
    return seen


def test_the_distiller_is_read_with_nineteen_others():
    expected = {"base_distiller", "box_masks", "checks", "masks", "connectors", "dry_run", "layers"}
    expected |= {
        "layouts",
        "loss_checks",
        "pairs",
        "relations.gram",
        "shapes",
        "table",
        "teacher",
        "teacher_shares",
        "term",
        "term_connectors",
        "terms",
        "tokens",
    }
    assert to_read("distiller") == expected


def test_mutual_learning_is_read_with_nine_others():
    expected = {"base_distiller", "checks", "layers", "losses.base", "methods.adapter", "tokens"}
    assert to_read("methods.dml") == expected | {"losses.soft_target", "methods.base", "teacher"}


def test_a_method_of_several_networks_is_read_with_at_most_nine_others():
    found = to_read("methods.dml")
    assert "base_distiller" in found and len(found) <= 9
