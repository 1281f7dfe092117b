"""kdkit configs: the list of built-in configs, and copies of them."""

from kd_engine.config.builtin import list_configs
from kd_engine.config.file import read_config


def test_all_are_listed_with_what_they_are(run_tool):
    code, text, _ = run_tool("configs")
    lines = text.splitlines()
    assert code == 0 and [line.split()[0] for line in lines] == [one.name for one in list_configs()]
    (line,) = [line for line in lines if line.startswith("kdkit::demo/teacher.py ")]
    assert "The demo's teacher" in line


def test_a_word_chooses(run_tool):
    code, text, _ = run_tool("configs", "ASCKD")
    assert code == 0 and 0 < len(text.splitlines()) < len(list_configs())
    assert all("asckd" in line.lower() for line in text.splitlines())
    code, _, error = run_tool("configs", "nothing-like-it")
    assert code == 1 and "'nothing-like-it'" in error


def test_a_copy_is_the_same_config(run_tool, tmp_path):
    command = ("configs", "--copy", "kdkit::demo/student.py", "--to", tmp_path / "mine")
    code, text, _ = run_tool(*command)
    copy = tmp_path / "mine/student.py"
    assert code == 0 and text == f"{copy}\n"
    assert read_config(str(copy)).model == read_config("kdkit::demo/student.py").model
    code, _, error = run_tool(*command)
    assert code == 1 and "must not replace" in error
