"""Locks that end with their process."""

import errno
import fcntl
import multiprocessing
import os
import signal

import pytest

from kd_core.checkpoint.file_lock import try_lock


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
