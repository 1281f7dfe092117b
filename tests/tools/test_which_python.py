"""A Python without kdkit's packages says so in one line, whichever tool it runs."""

import importlib.util
import re
import subprocess
import sys

import pytest

from .conftest import ROOT

TOOLS = sorted(path.stem for path in ROOT.glob("tools/*.py") if path.stem != "which_python")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_python_without_packages(tool, tmp_path):
    command = [sys.executable, "-S", "-E", str(ROOT / f"tools/{tool}.py"), "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.search(r"has no package \w+\. Activate the environment .*source \S+/activate$", line)


def test_other_errors_are_shown_as_ever(capsys, monkeypatch):
    guard = load_guard(monkeypatch)
    for error in (ValueError("odd"), ModuleNotFoundError("No module named 'faiss'", name="faiss"),
                  ImportError("libGL.so.1", name="torch")):  # fmt: skip
        guard.explain(type(error), error, None)
        assert str(error) in capsys.readouterr().err


def load_guard(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    spec = importlib.util.spec_from_file_location("which_python", ROOT / "tools/which_python.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_remedy_exists(monkeypatch, tmp_path):
    """The sentence names the way from here to the activation, or how to make it."""
    guard = load_guard(monkeypatch)
    monkeypatch.chdir(tmp_path)
    said = guard.sentence("is odd")
    script = tmp_path / said.rpartition("source ")[2]
    if "make -C" in said:
        root = re.search(r"make -C (\S+) setup", said)[1]
        assert (tmp_path / root / "Makefile").is_file() and not script.exists()
    else:
        assert script.is_file()


def test_pages_and_messages_have_one_convention():
    """`source .venv/bin/activate` once, then `kdkit ...` everywhere."""
    readme = (ROOT / "README.md").read_text()
    assert readme.index("source .venv/bin/activate") < readme.index("kdkit train")
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/**/*.*"),
             *ROOT.glob("kd_*/**/*.py"), *ROOT.glob("tools/*.py")]  # fmt: skip
    for file in files:
        if file.suffix in (".md", ".py"):
            assert ".venv/bin/python" not in file.read_text(), file
        if file.suffix == ".md" and file.name != "commands.md":
            assert "python tools/" not in file.read_text(), file
