"""kd_engine.progress: bars on a terminal, and nothing in a pipe or a log file."""

import contextlib
import io
import time

import pytest

from kd_engine.data.download.progress import DownloadProgress
from kd_engine.errors import clear_errors
from kd_engine.progress import progress_bar
from kd_engine.terminal import short_terminal


class Screen(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """Let the error output be a terminal while a block runs."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)

    @contextlib.contextmanager
    def show():
        with contextlib.redirect_stderr(Screen()) as stream:
            yield stream

    return show


def test_a_bar_counts_on_a_terminal(screen, capsys):
    with screen() as shown, progress_bar("embedding", 1200, "images") as show:
        show(1200)
        print("a line of the command")
    text = shown.getvalue()
    assert "embedding" in text and "1200/1200" in text and "images" in text
    assert capsys.readouterr().out == "a line of the command\n"


def test_nothing_is_shown_in_a_pipe(capsys):
    with progress_bar("embedding", 1200, "images") as show:
        show(600)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_the_line_after_a_silence_says_how_far_it_is(capsys):
    with short_terminal("loading", quiet=0.2), progress_bar("embedding", 1200, "images") as show:
        show(600)
        time.sleep(0.6)
    assert "... embedding: 600 of 1,200 images (" in capsys.readouterr().out


def test_a_download_has_a_bar_on_a_terminal(screen):
    with screen() as shown, DownloadProgress("a.zip", 0, 2_000_000) as progress:
        progress.show(2_000_000)
    text = shown.getvalue()
    assert "a.zip" in text and "2.0/2.0 MB" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back


def test_a_download_that_ends_is_a_line_elsewhere(capsys):
    with DownloadProgress("a.zip", 0, 2_000_000) as progress:
        progress.show(2_000_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("a.zip: 2.0 MB of 2.0 MB (100 %), ")
    with pytest.raises(OSError), DownloadProgress("a.zip", 0, 2_000_000):
        raise OSError
    assert capsys.readouterr().err == ""


def test_the_word_error_is_red_on_a_terminal(screen):
    with screen() as shown, pytest.raises(SystemExit), clear_errors():
        raise ValueError("[b] is no tag, and 3 is not a number: " + "x" * 100)
    assert shown.getvalue() == (
        "\x1b[1;31merror:\x1b[0m [b] is no tag, and 3 is not a number: " + "x" * 100 + "\n"
    )
