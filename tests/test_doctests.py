"""Every example in a docstring gives what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("kdkit", "kd_core", "kd_engine", "kd_det", "kd_retrieval", "kd_cls")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_there_are_examples():
    assert {"kd_core.losses.hmat", "kd_retrieval.recall.at_k"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_give_what_they_say(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
