"""A work dir serves one run at a time."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import time

import pytest

from kd_engine.work_dir.lock import hold_work_dir, last_run_of


def hold(folder, begun):
    with hold_work_dir(folder) as lock:
        lock.sign("projA/student.py")
        begun.send("")
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Another process that has a work dir."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path / "run", theirs))
    process.start()
    assert ours.poll(20)
    yield process
    process.kill()
    process.join()


def test_a_second_run_is_refused_and_told_who_has_it(holder, tmp_path):
    with pytest.raises(BlockingIOError) as error, hold_work_dir(tmp_path / "run"):
        pass
    text = str(error.value)
    assert f"{tmp_path / 'run'} is in use by process {holder.pid} on {socket.gethostname()}" in text
    assert f"({os.path.abspath('projA/student.py')}, since 20" in text and "--work-dir" in text
    with hold_work_dir(tmp_path / "other"):
        pass


def test_the_lock_goes_with_a_killed_process(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with hold_work_dir(tmp_path / "run"):
        assert last_run_of(tmp_path / "run")["pid"] == holder.pid  # until it is signed


def test_in_one_process_too(tmp_path):
    with hold_work_dir(tmp_path):
        with pytest.raises(BlockingIOError), hold_work_dir(tmp_path):
            pass
    with hold_work_dir(tmp_path):
        pass


def work(begun):
    begun.send("")
    time.sleep(60)


def test_a_forked_worker_does_not_keep_it(tmp_path):
    (tmp_path / "old").touch()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with hold_work_dir(tmp_path):
        worker = context.Process(target=work, args=(theirs,))
        worker.start()
        assert ours.poll(20)
    try:
        with hold_work_dir(tmp_path):
            assert worker.is_alive()
    finally:
        worker.kill()
        worker.join()


@pytest.mark.parametrize("launcher", ["pytorch", "slurm", "mpi"])
def test_of_a_distributed_run_the_first_process_has_it(tmp_path, monkeypatch, launcher):
    variable = dict(pytorch="RANK", slurm="SLURM_PROCID", mpi="OMPI_COMM_WORLD_RANK")[launcher]
    monkeypatch.setenv(variable, "0")
    with hold_work_dir(tmp_path / "run", launcher) as lock:
        lock.sign("first.py")
        monkeypatch.setenv(variable, "1")
        with hold_work_dir(tmp_path / "run", launcher) as second:
            second.sign("second.py")
        assert last_run_of(tmp_path / "run")["config"].endswith("first.py")
        with pytest.raises(BlockingIOError), hold_work_dir(tmp_path / "run"):  # none of that run
            pass


def test_the_note_is_that_of_the_last_run(tmp_path):
    assert last_run_of(tmp_path) == {}
    for name in ("mmdet::a/long/name.py", "mmdet::b.py"):
        with hold_work_dir(tmp_path) as lock:
            lock.sign(name)
    assert last_run_of(tmp_path)["config"] == name and last_run_of(tmp_path)["run"] is None
    with hold_work_dir(tmp_path) as lock:
        lock.sign("mmdet::b.py", begins=True)
        lock.sign("mmdet::c.py")
    assert last_run_of(tmp_path)["run"] == "mmdet::b.py"
    assert json.loads((tmp_path / ".run.json").read_text())["pid"] == os.getpid()
    (tmp_path / ".run.json").write_text("[1]")
    assert last_run_of(tmp_path) == {}
    (tmp_path / ".run.json").write_text('{"config":')
    assert last_run_of(tmp_path) == {}


def test_what_stays_empty_is_removed(tmp_path):
    with pytest.raises(KeyError), hold_work_dir(tmp_path / "a" / "b") as lock:
        lock.sign("a.py")
        raise KeyError
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir()
    with hold_work_dir(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "log").touch()
    with hold_work_dir(tmp_path / "c" / "d"):
        (tmp_path / "c" / "log").touch()
    assert (tmp_path / "a" / "b" / "log").exists() and (tmp_path / "c" / "log").exists()


def test_a_work_dir_removed_by_hand_meanwhile_is_no_error(tmp_path):
    with hold_work_dir(tmp_path / "run"):
        (tmp_path / "run" / ".run.lock").unlink()
        with hold_work_dir(tmp_path / "run"):
            assert (tmp_path / "run" / ".run.lock").exists()
        (tmp_path / "run" / "log").touch()
    assert (tmp_path / "run" / "log").exists()


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / ".epoch_1.pth.0123456789abcdef.tmp").touch()
    with hold_work_dir(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".run.lock"]


def test_where_nothing_can_be_locked_a_warning_says_so(tmp_path, monkeypatch, capsys):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with hold_work_dir(tmp_path), hold_work_dir(tmp_path):
        pass
    assert capsys.readouterr().err.count("warning: files in") == 2
