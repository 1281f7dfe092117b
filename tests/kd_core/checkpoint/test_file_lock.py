"""Locks that end with their process."""

import errno
import fcntl
import multiprocessing
import os
import signal

import pytest

from kd_core.checkpoint.file_lock import hold_lock, try_lock


def hold(path, begun):
    with path.open("wb") as file:
        begun.send(try_lock(file.fileno()))
        signal.pause()


def test_another_process_cannot_have_it_until_the_first_is_killed(tmp_path):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path / "lock", theirs))
    process.start()
    try:
        assert ours.poll(20) and ours.recv() is True
        with (tmp_path / "lock").open("r+b") as file:
            with pytest.raises(BlockingIOError):
                try_lock(file.fileno())
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert try_lock(file.fileno()) is True
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("wb") as file:
        assert try_lock(file.fileno()) is False


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_both_ways_to_say_that_it_is_taken(tmp_path, monkeypatch, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("wb") as file, pytest.raises(BlockingIOError):
        try_lock(file.fileno())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_lock_file_on_a_file_system_without_locks_is_told(tmp_path, monkeypatch, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with hold_lock(tmp_path / "lock") as first, hold_lock(tmp_path / "lock") as second:
        assert (first, second) == (False, False)


def test_a_lock_file_has_one_holder_and_then_another(tmp_path):
    with hold_lock(tmp_path / "new" / "lock") as locked:
        assert locked
        with pytest.raises(BlockingIOError, match="lock is locked"):
            with hold_lock(tmp_path / "new" / "lock"):
                raise AssertionError("two have it")
    with hold_lock(tmp_path / "new" / "lock") as locked:
        assert locked


def test_a_lock_file_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), hold_lock(tmp_path / "file" / "lock"):
        pass


def test_a_lock_file_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    real, removed = fcntl.flock, []

    def lock_late(descriptor, operation):
        if not removed:
            removed.append((tmp_path / "lock").unlink())
        return real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with hold_lock(tmp_path / "lock"):
        assert removed
        with pytest.raises(BlockingIOError), hold_lock(tmp_path / "lock"):
            pass


def test_an_error_of_the_block_is_not_taken_for_one_of_the_lock(tmp_path):
    with pytest.raises(OSError, match="the disk is full"), hold_lock(tmp_path / "lock"):
        raise OSError(errno.ENOSYS, "the disk is full")
