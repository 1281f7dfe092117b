"""kd_engine.terminal: what reaches the terminal, and what the log file."""

import io
import logging
import sys
import time
import warnings

import pytest

from kd_engine import terminal
from kd_engine.terminal import TABLES, set_status, short_terminal, shorten_log

LIBRARY, OURS = {"__name__": "pycocotools.coco"}, {"__name__": "my_hooks"}


def say(text, module):
    exec(f"print({text!r})", dict(module))


@pytest.fixture
def logger(tmp_path):
    made = logging.Logger("run")
    made.addHandler(logging.FileHandler(tmp_path / "run.log"))
    yield made
    for handler in made.handlers:
        handler.close()


def test_prints_of_libraries_go_to_the_log_and_those_of_users_to_the_terminal(
    capsys, logger, tmp_path
):
    with short_terminal("starting"):
        say("early banner", LIBRARY)
        logger.addHandler(logging.StreamHandler(sys.stdout))
        shorten_log(logger)
        say("loading annotations", LIBRARY)
        say("my own line", OURS)
        logger.info("Config:\na = 1")
        logger.info("a line for people")
        logger.warning("a warning")
    say("afterwards", LIBRARY)
    assert capsys.readouterr().out.splitlines() == [
        "my own line", "a line for people", "a warning", "afterwards",
    ]  # fmt: skip
    assert (tmp_path / "run.log").read_text().splitlines() == [
        "early banner", "loading annotations", "Config:", "a = 1", "a line for people", "a warning",
    ]  # fmt: skip


def test_tables_of_classes_are_for_the_log_while_training(capsys, logger, tmp_path):
    with short_terminal("starting"):
        logger.addHandler(logging.StreamHandler(sys.stdout))
        shorten_log(logger)
        logger.info("\n+-------+\n| class |")
        shorten_log(logger, TABLES)
        logger.info("\n+-------+\n| again |")
        logger.info("Epoch(val)")
    assert capsys.readouterr().out == "\n+-------+\n| class |\nEpoch(val)\n"
    assert "again" in (tmp_path / "run.log").read_text()


def test_everything_is_shown_if_tracebacks_are(capsys, monkeypatch):
    monkeypatch.setenv("KD_TRACEBACK", "1")
    with short_terminal("starting"):
        say("banner", LIBRARY)
    assert capsys.readouterr().out == "banner\n"


def test_needless_warnings_are_dropped_and_others_stay(recwarn):
    with short_terminal("starting"):
        warnings.warn("faster_coco_eval is not installed, metrics", stacklevel=1)
        warnings.warn("the batch is odd", stacklevel=1)
    assert [str(one.message) for one in recwarn] == ["the batch is odd"]


def wait_for(stream, text):
    end = time.monotonic() + 20
    while text not in stream.getvalue():
        assert time.monotonic() < end, f"{text!r} is not in {stream.getvalue()!r}"
        time.sleep(0.01)


def test_a_silent_command_says_what_it_does(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    with short_terminal("loading", quiet=0.05):
        wait_for(stream, "... loading (0:00:00)\n")
        set_status(lambda: "epoch 1 of 2")
        wait_for(stream, "... epoch 1 of 2 (0:00:00)\n")
        set_status("")
        time.sleep(0.1)
        before = stream.getvalue()
        time.sleep(0.3)
        assert stream.getvalue() == before
    time.sleep(0.2)
    assert stream.getvalue() == before


def test_a_command_that_speaks_is_not_interrupted(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    with short_terminal("loading", quiet=5.0):
        for _ in range(5):
            print("a line")
            time.sleep(0.02)
    assert stream.getvalue() == "a line\n" * 5


def test_only_the_first_process_of_many_says_what_it_does(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("RANK", "1")
    with short_terminal("loading", quiet=0.02):
        time.sleep(0.2)
    assert stream.getvalue() == ""


def test_the_silence_is_shorter_than_20_seconds():
    assert terminal.QUIET + min(1.0, terminal.QUIET / 5) < 20


def test_without_a_terminal_nothing_changes(logger):
    set_status("nothing")
    shorten_log(logger)
    assert [handler.filters for handler in logger.handlers] == [[]]
