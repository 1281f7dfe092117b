"""One run at a time in a work dir: a lock that goes with the process, however that ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kd_core.checkpoint.atomic import remove_abandoned
from kd_core.checkpoint.file_lock import try_lock

_FILE = ".run.json"
_RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
_held: set[int] = set()  # descriptors


class WorkDirLock:
    """A work dir that this process has for itself.

    Args:
        folder: The work dir.
        descriptor: The locked file; ``None`` in all but the first process of a distributed run.
    """

    def __init__(self, folder: Path, descriptor: int | None) -> None:
        self._folder = folder
        self._descriptor = descriptor

    def sign(self, config_name: str, begins: bool = False) -> None:
        """Note in the work dir which process has it, and whose checkpoints it holds.

        Args:
            config_name: Config file, or the name of an installed one.
            begins: Its training begins now: checkpoints are its own from here on.
        """
        if self._descriptor is None:
            return
        name = config_name if "::" in config_name else os.path.abspath(config_name)
        entry = dict(
            run=name if begins else last_run_of(self._folder).get("run"),
            config=name,
            pid=os.getpid(),
            host=socket.gethostname(),
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
        )
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, (json.dumps(entry) + "\n").encode())


@contextlib.contextmanager
def hold_work_dir(
    work_dir: str | os.PathLike[str], launcher: str = "none"
) -> Iterator[WorkDirLock]:
    """Keep a work dir for this process until the end of the block, or of the process.

    Of a distributed run the first process has it for all. A folder in which nothing was written
    is removed at the end. Where files cannot be locked (Windows, some network file systems) a
    warning says that a second run would not be noticed.

    Args:
        work_dir: The work dir; it is made if need be.
        launcher: How the processes of a distributed run were started.

    Raises:
        BlockingIOError: If another run has it.
    """
    folder = Path(os.path.abspath(work_dir))
    if os.environ.get(_RANKS.get(launcher, ""), "0") != "0":
        yield WorkDirLock(folder, None)
        return
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    descriptor = _lock(folder)
    _held.add(descriptor)
    try:
        remove_abandoned(folder)
        yield WorkDirLock(folder, descriptor)
    finally:
        if descriptor in _held:  # not in a child that was forked meanwhile
            _remove_if_empty(folder, made)
            _held.remove(descriptor)
            os.close(descriptor)


def last_run_of(work_dir: str | os.PathLike[str]) -> Mapping[str, object]:
    """Return what the last run in a work dir noted there.

    Returns:
        ``run``, the config whose checkpoints are there; ``config``, ``pid``, ``host`` and
        ``since`` of the last process that had it. Empty if nothing is known.
    """
    try:
        found = json.loads(Path(work_dir, _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an earlier version, or being written just now
        return {}
    return found if isinstance(found, dict) else {}


def _lock(folder: Path) -> int:
    path = folder / _FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # The last run has just removed it.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            if _is_ours(descriptor, path):
                return descriptor
            os.close(descriptor)


def _is_ours(descriptor: int, path: Path) -> bool:
    """Lock the file, and see that it is still in its place."""
    try:
        if not try_lock(descriptor):
            print(
                f"warning: files in {path.parent} cannot be locked, so that a second run in it "
                "would not be noticed. See that there is none.",
                file=sys.stderr,
            )
        return not hasattr(os, "fork") or os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    except BlockingIOError as error:
        os.close(descriptor)
        raise BlockingIOError(_in_use(path.parent)) from error


def _in_use(folder: Path) -> str:
    run = last_run_of(folder)
    who = "another process"
    if run:
        who = f"process {run.get('pid')} on {run.get('host')} ({run.get('config')}, since "
        who += f"{run.get('since')})"
    return (
        f"a work dir must serve one run at a time, but {folder} is in use by {who}. Wait for that "
        "run, end it, or name another folder with --work-dir."
    )


def _remove_if_empty(folder: Path, made: list[Path]) -> None:
    with contextlib.suppress(OSError):  # as where it has been removed by hand
        if [path.name for path in folder.iterdir()] == [_FILE] and made:
            (folder / _FILE).unlink()
            for one in made:
                one.rmdir()


def _let_go() -> None:
    """Let a forked child, such as a data loader's worker, not keep the lock of its parent."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
