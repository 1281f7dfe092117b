"""Lock of a work dir: one run at a time, until its process ends, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kd_core.checkpoint.atomic import remove_abandoned, write_whole
from kd_core.checkpoint.file_lock import hold_lock

_NOTE, _LOCK = ".run.json", ".run.lock"
_RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}


class WorkDirLock:
    """A work dir that this process has for itself.

    Args:
        folder: The work dir.
        signs: Whether it notes its owner: the first process of a distributed run does.
    """

    def __init__(self, folder: Path, signs: bool = True) -> None:
        self._folder = folder
        self._signs = signs

    def sign(self, config_name: str, begins: bool = False) -> None:
        """Note in the work dir which process has it, and whose checkpoints it holds.

        Args:
            config_name: Config file, or the name of an installed one.
            begins: Whether its training begins now: checkpoints are its own from here on.
        """
        if not self._signs:
            return
        name = config_name if "::" in config_name else os.path.abspath(config_name)
        entry = dict(
            run=name if begins else last_run_of(self._folder).get("run"),
            config=name,
            pid=os.getpid(),
            host=socket.gethostname(),
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
        )
        write_whole(self._folder / _NOTE, (json.dumps(entry) + "\n").encode())


@contextlib.contextmanager
def hold_work_dir(
    work_dir: str | os.PathLike[str], launcher: str = "none"
) -> Iterator[WorkDirLock]:
    """Lock a work dir for this process until the end of the block, or of the process.

    In a distributed run the first process locks it for all. A folder in which nothing was written
    is removed at the end. Where files cannot be locked (some network file systems) a
    warning says that a second run would not be noticed.

    Args:
        work_dir: The work dir; it is made if necessary.
        launcher: How the processes of a distributed run were started.

    Raises:
        BlockingIOError: If another run has it.
    """
    folder = Path(os.path.abspath(work_dir))
    if os.environ.get(_RANKS.get(launcher, ""), "0") != "0":
        yield WorkDirLock(folder, signs=False)
        return
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    me = os.getpid()
    with contextlib.ExitStack() as stack:
        try:
            locked = stack.enter_context(hold_lock(folder / _LOCK))
        except BlockingIOError as error:
            raise BlockingIOError(_in_use(folder)) from error
        if not locked:
            print(
                f"warning: files in {folder} cannot be locked, so that a second run in it would "
                "not be noticed. See that there is none.",
                file=sys.stderr,
            )
        remove_abandoned(folder)
        try:
            yield WorkDirLock(folder)
        finally:
            if os.getpid() == me:  # not in a child that was forked meanwhile
                _remove_if_empty(folder, made)


def last_run_of(work_dir: str | os.PathLike[str]) -> Mapping[str, object]:
    """Return what the last run in a work dir noted there.

    Returns:
        ``run``, the config whose checkpoints are there; ``config``, ``pid``, ``host`` and
        ``since`` of the last process that had it. Empty if nothing is known.
    """
    try:
        found = json.loads(Path(work_dir, _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an earlier version, or damaged
        return {}
    return found if isinstance(found, dict) else {}


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
        if made and {path.name for path in folder.iterdir()} <= {_NOTE, _LOCK}:
            (folder / _NOTE).unlink(missing_ok=True)
            (folder / _LOCK).unlink(missing_ok=True)
            for one in made:
                one.rmdir()
