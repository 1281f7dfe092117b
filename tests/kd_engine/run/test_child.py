"""A child ends with its parent, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_engine.run import child as child_run
from kd_engine.run.child import end_with_parent, run_child

CHILD = """
import os, sys, time
from kd_engine.run import child as child_run
if "watch" in sys.argv:
    child_run._tell_system = bool  # as where the system does not help
child_run.end_with_parent()
if "grand" in sys.argv:
    sys.argv.remove("grand")
    child_run.run_child(sys.argv)
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = "import sys; from kd_engine.run.child import run_child; sys.exit(run_child(sys.argv[1:]))"


def listen():
    """Undo what nohup or a shell's & has set: an ignored signal stays ignored in a child."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """Start a parent and its child; gives the parent and the child's process id."""
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    started = []

    def run(*options):
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(program), *options],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
            preexec_fn=listen,
        )  # fmt: skip
        started.append(process)
        return process, int(process.stdout.readline())

    yield run
    for process in started:
        process.kill()
        process.communicate()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pid, seconds=10):
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


@pytest.mark.parametrize(
    ("number", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", -2), ("SIGKILL", -9)]
)
def test_of_a_parent_that_is_ended(start, number, code):
    parent, child = start()
    parent.send_signal(getattr(signal, number))
    found = parent.wait(20)
    if number == "SIGKILL":
        assert wait_for_end(child)
    assert not is_alive(child)  # the others wait for it
    assert found == code


@pytest.mark.parametrize("options", [["grand"], ["watch"]])
def test_children_of_children_and_of_other_systems(start, options):
    parent, last = start(*options)
    parent.kill()
    assert wait_for_end(last)


def test_a_child_that_is_orphaned_before_it_can_ask_ends(monkeypatch):
    monkeypatch.setenv("KD_PARENT_PID", str(os.getppid() + 1))
    monkeypatch.setattr(child_run, "_tell_system", lambda: True)
    with pytest.raises(SystemExit, match="that started this one has ended"):
        end_with_parent()
    end_with_parent()  # not a child: nothing happens
    assert "KD_PARENT_PID" not in os.environ


def test_the_exit_code_of_the_child_comes_back(tmp_path):
    (tmp_path / "a.py").write_text("import sys; sys.exit(int(sys.argv[1]))")
    before = signal.getsignal(signal.SIGTERM)
    assert [run_child([str(tmp_path / "a.py"), str(code)]) for code in (0, 7)] == [0, 7]
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_the_program_ignores_stays_ignored(monkeypatch):
    seen = []

    def look(*_, **__):
        seen.extend(map(signal.getsignal, (signal.SIGHUP, signal.SIGTERM)))
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(child_run.subprocess, "run", look)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        run_child([])
        assert seen[0] == signal.SIG_IGN and callable(seen[1])
    finally:
        signal.signal(signal.SIGHUP, before)
