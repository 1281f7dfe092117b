"""Folders to write in."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from kd_retrieval.temporary import put_in_place, temporary_folder


def write_and_wait(path, begun):
    with temporary_folder(path) as place:
        (place / "vectors").write_bytes(b"x" * 100)
        begun.send(str(place))
        signal.pause()


@pytest.fixture
def writer(tmp_path):
    """Start a process that writes to a path; gives the process and its temporary folder."""
    context = multiprocessing.get_context("fork")
    started = []

    def start(name):
        ours, theirs = context.Pipe()
        process = context.Process(target=write_and_wait, args=(tmp_path / name, theirs))
        process.start()
        started.append(process)
        assert ours.poll(20)
        return process, Path(ours.recv())

    yield start
    for process in started:
        process.kill()
        process.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_leaves_goes_with_the_next_run(writer, tmp_path):
    process, place = writer("kept")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert place.is_dir() and not (tmp_path / "kept").exists()
    with temporary_folder(tmp_path / "other"):
        assert place.is_dir()  # not its own
    with temporary_folder(tmp_path / "kept") as fresh:
        assert not place.exists() and list(fresh.iterdir()) == []
        put_in_place(fresh, tmp_path / "kept")
    assert names(tmp_path) == ["kept"]


def test_what_another_process_writes_stays(writer, tmp_path):
    _, place = writer("kept")
    with temporary_folder(tmp_path / "kept"):
        pass
    assert (place / "vectors").is_file()


def test_a_folder_that_is_not_locked_yet_and_other_files_stay(tmp_path):
    young = tmp_path / ".kept.abc.tmp"
    young.mkdir()
    (tmp_path / ".kept.notes").write_text("mine")
    with temporary_folder(tmp_path / "kept"):
        pass
    assert names(tmp_path) == [".kept.abc.tmp", ".kept.notes"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), temporary_folder(tmp_path / "below/kept") as place:
        (place / "x").touch()
        raise KeyboardInterrupt
    assert names(tmp_path / "below") == []


def test_an_old_folder_comes_back_if_the_new_one_cannot_come(tmp_path, monkeypatch):
    old = tmp_path / "kept"
    old.mkdir()
    (old / "old").touch()
    rename = Path.rename

    def broken(self, target):
        if Path(target) == old and self.name == "content":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="no"), temporary_folder(old) as place:
        put_in_place(place, old)
    assert names(tmp_path) == ["kept"] and names(old) == ["old"]
    monkeypatch.undo()
    with temporary_folder(old) as place:
        (place / "new").touch()
        put_in_place(place, old)
    assert names(tmp_path) == ["kept"] and names(old) == ["new"]
