"""Files and folders that appear whole or not at all."""

import multiprocessing
import os
import re
import signal
import stat
from pathlib import Path

import pytest

from kd_core.checkpoint import atomic
from kd_core.checkpoint.atomic import (
    put_in_place,
    remove_abandoned,
    temporary_file,
    temporary_folder,
    temporary_name,
    write_whole,
)
from kd_core.checkpoint.file_lock import try_lock


def write_and_wait(path, begun):
    with temporary_folder(path) as place:
        (place / "vectors").write_bytes(b"x" * 100)
        begun.send(str(place))
        signal.pause()


def write_file_and_wait(path, begun):
    with temporary_file(path) as file:
        file.write(b"half")
        file.flush()
        begun.send("")
        signal.pause()


def replace_and_wait(path, begun):
    """Wait where the old folder has gone and the new one has not come."""
    rename = Path.rename

    def slow(self, target):
        if Path(target) == path:
            begun.send("")
            signal.pause()
        return rename(self, target)

    Path.rename = slow  # in this process alone
    with temporary_folder(path) as place:
        put_in_place(place, path)


@pytest.fixture
def writer(tmp_path):
    """Start a process that writes to a path; gives the process and its temporary folder."""
    context = multiprocessing.get_context("fork")
    started = []

    def start(name, target=write_and_wait):
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(tmp_path / name, theirs))
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


def test_a_folder_comes_back_if_its_replacement_is_killed(writer, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").touch()
    process, _ = writer("kept", replace_and_wait)
    assert not (tmp_path / "kept").exists()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with temporary_folder(tmp_path / "kept"):
        assert names(tmp_path / "kept") == ["old"]
    assert names(tmp_path) == ["kept"]


def test_a_removal_that_is_killed_is_done_by_the_next_run(tmp_path, monkeypatch):
    left = temporary_name(tmp_path / "kept")
    (left / "content").mkdir(parents=True)
    (left / "content" / "vectors").touch()
    (left / "lock").touch()

    def remove_one_file(folder):
        next(path for path in [Path(folder, "lock"), *folder.iterdir()] if path.is_file()).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", remove_one_file)
        remove_abandoned(tmp_path)
    assert left.exists()
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_what_another_process_writes_stays(writer, tmp_path):
    _, place = writer("kept")
    with temporary_folder(tmp_path / "kept"):
        pass
    assert (place / "vectors").is_file()


def test_a_folder_that_is_not_locked_yet_and_other_files_stay(tmp_path):
    young = tmp_path / ".kept.0123456789abcdef.tmp"
    young.mkdir()
    (tmp_path / ".kept.notes").write_text("mine")
    with temporary_folder(tmp_path / "kept"):
        pass
    assert names(tmp_path) == [young.name, ".kept.notes"]


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


def test_names_are_random_and_in_the_same_folder(tmp_path):
    path = tmp_path / "iter_2.pth"
    some = {temporary_name(path) for _ in range(50)}
    assert len(some) == 50 and {one.parent for one in some} == {tmp_path}
    for one in some:
        assert re.fullmatch(r"\.iter_2\.pth\.[0-9a-f]{16}\.tmp", one.name)


def test_two_writers_with_one_process_id_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in two containers
    path = tmp_path / "a"
    with temporary_file(path) as first:
        first.write(b"first")
        write_whole(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first" and names(tmp_path) == ["a"]


def test_a_file_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "below" / "a"
    write_whole(path, b"old")
    with pytest.raises(KeyboardInterrupt), temporary_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and names(path.parent) == ["a"]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    events, sync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append("folder" if is_folder else os.fstat(descriptor).st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *two: events.append("name") or replace(*two))
    write_whole(tmp_path / "new" / "folders" / "a", b"12345")
    assert events == [5, "name", "folder"]


def test_a_temporary_folder_is_its_owners_alone(tmp_path):
    with temporary_folder(tmp_path / "new" / "folders" / "a") as place:
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


def test_a_new_file_has_the_usual_mode(tmp_path):
    write_whole(tmp_path / "a", b"")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_file_of_a_killed_process_is_removed_and_one_in_use_stays(writer, tmp_path):
    killed, _ = writer("killed", write_file_and_wait)
    writer("busy", write_file_and_wait)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert len(names(tmp_path)) == 2
    remove_abandoned(tmp_path)
    (left,) = names(tmp_path)
    assert left.startswith(".busy.")


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        (".iter_2.pth.0123456789abcdef.tmp", True),
        (".iter_2.pth.4711.tmp", True),  # a process id, of an earlier version
        (".iter_2.pth.abcdefgh.tmp", False),
        (".iter_2.pth.tmp", False),
        ("iter_2.pth.0123456789abcdef.tmp", False),
        (".0123456789abcdef.tmp", False),
    ],
)
def test_which_names_are_temporary(tmp_path, name, goes):
    (tmp_path / name).touch()
    remove_abandoned(tmp_path, "other")
    assert names(tmp_path) == [name]
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ([] if goes else [name])


@pytest.mark.parametrize(
    ("letters", "goes"), [("0123456789abcdef", True), ("a_9bcdef", True), ("mine", False)]
)
def test_which_folders_are_temporary(tmp_path, letters, goes):
    place = tmp_path / f".index.{letters}.tmp"
    place.mkdir()
    (place / "lock").touch()
    remove_abandoned(tmp_path, "index")
    assert place.exists() != goes


def test_nothing_is_removed_where_there_are_no_locks(tmp_path, monkeypatch):
    (tmp_path / ".a.0123456789abcdef.tmp").touch()
    monkeypatch.setattr(atomic, "try_lock", lambda descriptor: False)
    write_whole(tmp_path / "a", b"1")
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [".a.0123456789abcdef.tmp", "a"]


def test_a_file_taken_for_abandoned_before_it_is_locked_is_begun_again(tmp_path, monkeypatch):
    taken = []

    def lock_late(descriptor):
        if not taken:
            taken.extend(names(tmp_path))
            monkeypatch.setattr(atomic, "try_lock", try_lock)
            remove_abandoned(tmp_path)
            assert names(tmp_path) == []
        return try_lock(descriptor)

    monkeypatch.setattr(atomic, "try_lock", lock_late)
    write_whole(tmp_path / "a", b"1")
    assert taken and (tmp_path / "a").read_bytes() == b"1" and names(tmp_path) == ["a"]
