"""The command kdkit itself: help without heavy imports, parsing, exit codes, completion, shims."""

import os
import re
import subprocess
import sys

import click
import pytest

from kdkit.cli import benchmark, group, train
from kdkit.cli.command import PROGRAM

from .conftest import ROOT

NAMES = [name for names in group.COMMANDS.values() for name in names]
HEAVY = ("torch", "mmengine", "mmcv", "mmdet", "numpy", "cv2", "PIL", "rich", "kd_core.losses",
         "kd_engine", "kd_det", "kd_retrieval", "kd_cls")  # fmt: skip
PROBE = f"""
import sys
from kdkit.cli import main
try:
    main(sys.argv[1:])
finally:
    print("imported:", *[name for name in {HEAVY!r} if name in sys.modules])
"""


def python(*arguments, folder=None, **environment):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, **environment}, timeout=120,
    )  # fmt: skip


def params(command, *words):
    return command.make_context(command.name, list(words)).params


@pytest.mark.parametrize("command", [(), *[(name,) for name in NAMES]])
def test_help_imports_nothing_heavy(command):
    done = python("-c", PROBE, *command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {' '.join(['kdkit', *command])} ")
    assert done.stdout.splitlines()[-1] == "imported:"


def test_the_help_lists_every_command_once(run_tool):
    _, text, _ = run_tool("--help")
    listed = re.findall(r"^  ([\w-]+)  ", text.partition("Options:")[2], re.MULTILINE)
    assert [name for name in listed if not name.startswith("-")] == NAMES
    folder = ROOT / "kdkit/cli"
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py")}
    files |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert files - {"--init--", "command", "group"} == set(NAMES)


def test_help_shows_command_lines_as_they_are_written(run_tool):
    _, text, _ = run_tool("train", "-h")
    assert "\n      kdkit train configs/det/hmat+bccd --resume\n" in text
    assert re.search(r"Arguments:\n  CONFIG  Config file", text)


def test_version():
    done = python("-m", "kdkit", "--version")
    assert done.returncode == 0 and re.fullmatch(r"kdkit \d+\.\d+\.\d+\S*\n", done.stdout)


def test_an_unknown_command_is_answered_with_the_nearest(run_tool):
    code, _, error = run_tool("saerch")
    assert code == 2 and "no command 'saerch'. Nearest names: search" in error
    code, _, error = run_tool("xyz")
    assert code == 2 and all(name in error for name in NAMES)


def test_an_option_takes_all_values_up_to_the_next_one():
    found = params(train.command, "--cfg-options", "a=1", "b=[2,3]", "--work-dir", "w", "c.py",
                   "--cfg-options", "d=-1", "--amp")  # fmt: skip
    assert found["cfg_options"] == ("a=1", "b=[2,3]", "d=-1")
    assert (found["config"], found["work_dir"], found["amp"]) == ("c.py", "w", True)


@pytest.mark.parametrize("words", [("--cfg-options", "a"), ("--cfg-options", "a=1", "c"),
                                   ("--cfg-options",), ("--cfg-options", "--amp")])  # fmt: skip
def test_options_that_are_no_pairs_are_refused(run_tool, words):
    code, _, error = run_tool("train", "config.py", *words)
    assert code == 2 and "--cfg-options" in error


def test_resume_takes_a_checkpoint_or_none():
    assert params(train.command, "c.py")["resume"] is None
    assert params(train.command, "c.py", "--resume")["resume"] == "auto"
    assert params(train.command, "c.py", "--resume", "a.pth")["resume"] == "a.pth"
    assert params(train.command, "c.py", "--resume", "--amp")["resume"] == "auto"


@pytest.mark.parametrize("name", ["--local-rank", "--local_rank"])
def test_launchers_name_the_rank_in_two_ways(name):
    assert params(train.command, "c.py", f"{name}=3")["local_rank"] == 3


@pytest.mark.parametrize(
    "words",
    [("train", "c.py", "--resume", "--overwrite"), ("embed", "c.py", "a.npz", "--split", "test",
     "--image-folder", "f"),
     ("search", "a.npz", "--out", "p.html", "--config", "c", "--images", "i")],
)  # fmt: skip
def test_options_that_exclude_each_other(run_tool, words):
    code, _, error = run_tool(*words)
    assert code == 2 and "exclude each other" in error


def test_a_checkpoint_before_the_output_may_be_left_out(run_tool):
    from kdkit.cli import embed

    assert params(embed.command, "c.py", "o.npz")["checkpoint"] is None
    found = params(embed.command, "c.py", "--half", "a.pth", "o.npz")
    assert (found["checkpoint"], found["out"]) == ("a.pth", "o.npz")
    code, _, error = run_tool("embed", "c.py", "a.pth", "b.pth", "o.npz")
    assert code == 2 and "unexpected extra argument" in error


@pytest.fixture
def failing(monkeypatch):
    """Make `kdkit layers` raise an error."""

    def fail(error):
        def callback(**_):
            raise error

        monkeypatch.setattr(group.kdkit.get_command(click.Context(group.kdkit), "layers"),
                            "callback", callback)  # fmt: skip

    return fail


def test_an_interrupt_before_a_command_begins(failing, run_tool):
    failing(KeyboardInterrupt())
    code, _, error = run_tool("layers", "c.py")
    assert code == 130 and "interrupted" in error


def test_an_absent_package_is_named_with_its_extra(failing, run_tool):
    failing(ModuleNotFoundError("No module named 'mmengine'", name="mmengine.config"))
    code, _, error = run_tool("layers", "c.py")
    assert code == 1 and len(error.splitlines()) == 1
    assert "needs mmengine" in error and "pip install 'kdkit[onedl]'" in error


def test_an_environment_that_kd_engine_refuses_is_named(failing, run_tool, monkeypatch):
    failing(RuntimeError("only one distribution may be installed"))
    with pytest.raises(RuntimeError):
        group.main(["layers", "c.py"])
    monkeypatch.delitem(sys.modules, "kd_engine")
    code, _, error = run_tool("layers", "c.py")
    assert (code, error) == (1, "error: only one distribution may be installed\n")


def test_a_module_that_no_extra_has_is_not_explained_away(failing):
    failing(ModuleNotFoundError("No module named 'mine'", name="mine"))
    with pytest.raises(ModuleNotFoundError, match="mine"):
        group.main(["layers", "c.py"])


def test_completion_of_a_shell():
    code = "from kdkit.cli import main; main()"
    script = python("-c", code, _KDKIT_COMPLETE="bash_source")
    assert "_kdkit_completion" in script.stdout and "complete -o nosort" in script.stdout
    words = dict(COMP_WORDS="kdkit exp", COMP_CWORD="1", _KDKIT_COMPLETE="bash_complete")
    assert python("-c", code, **words).stdout.split() == ["plain,export", "plain,export-onnx"]
    words.update(COMP_WORDS="kdkit train --with", COMP_CWORD="2")
    assert python("-c", code, **words).stdout.split() == ["plain,--with-teacher"]
    words.update(COMP_WORDS="kdkit train kdkit::demo/t")
    assert python("-c", code, **words).stdout.split() == ["plain,kdkit::demo/teacher.py"]
    words.update(COMP_WORDS="kdkit train conf")
    assert python("-c", code, **words).stdout.split() == ["file,conf"]


def test_a_folder_named_kdkit_is_not_taken_for_the_package(tmp_path):
    """The checkout may be called kdkit, and a command may run in the folder around it."""
    (tmp_path / "kdkit").mkdir()
    (tmp_path / "kdkit/__init__.py").write_text("raise SystemExit('the wrong one')")
    done = python(*PROGRAM, "--version", folder=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("kdkit "), done.stderr


def test_benchmarks_are_of_a_checkout(run_tool, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "__file__", str(tmp_path / "site-packages/kdkit/cli/x.py"))
    code, _, error = run_tool("benchmark", "recall")
    assert code == 1 and "come with kdkit's repository" in error
    assert run_tool("benchmark", "--help")[0] == 0
    assert run_tool("benchmark")[0] == 2


def test_every_tool_is_a_shim_of_a_command():
    shims = {path for path in ROOT.glob("tools/*.py") if path.stem != "which_python"}
    called = {re.search(r'main\(\["([\w-]+)"', path.read_text())[1] for path in shims}
    assert len(called) == len(shims) and called <= set(NAMES)


def test_a_shim_runs_from_anywhere_with_the_exit_codes_of_its_command(tmp_path):
    tool = ROOT / "tools/summarise.py"
    missing = python(tool, "nowhere", folder=tmp_path)
    assert missing.returncode == 1 and missing.stderr.startswith("error: nowhere has no valid")
    wrong = python(tool, folder=tmp_path)
    assert wrong.returncode == 2 and "Usage: kdkit summarise" in wrong.stderr


def test_no_message_sends_the_user_of_an_installed_copy_to_the_checkout():
    """It has neither tools/ nor docs/."""
    for package in ("kd_core", "kd_engine", "kd_det", "kd_retrieval", "kd_cls", "kdkit"):
        for file in (ROOT / package).rglob("*.py"):
            text = " ".join(file.read_text().split())
            assert not re.search(r"\btools/\w+\.py", text), file
            own = re.sub(r"docs/\w+\.md of kdkit's repository", "", text)
            assert not re.search(r"\bdocs/\w+\.md", own), file


@pytest.mark.parametrize("command", ["configs", "train --help"])
def test_a_reader_that_leaves_ends_the_command_quietly(command):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-m", "kdkit", *command.split()], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.wait(timeout=120) == 1
        assert process.stderr.read() == b""
