"""Child process for a training; it ends with its parent, however that ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

_PARENT = "KD_PARENT_PID"
_PR_SET_PDEATHSIG = 1  # of Linux
_POLL = 0.5  # seconds


def run_child(arguments: Sequence[str]) -> int:
    """Run a Python program and wait for its end.

    If this process is asked to end meanwhile (SIGTERM, SIGHUP, Ctrl-C), the child ends first. If
    it is killed, a child that has called :func:`end_with_parent` ends at once.

    Args:
        arguments: The program and its arguments.

    Returns:
        Its exit code.

    Raises:
        SystemExit: If this process was asked to end, with the code that a shell expects.
    """
    with signals_raise():
        return subprocess.run([sys.executable, *arguments], env=_environment({})).returncode


def start_child(
    arguments: Sequence[str], settings: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a Python program without waiting for its end.

    Args:
        arguments: The program and its arguments.
        settings: Environment variables that it gets besides those of this process.
        log: File that its output is added to.

    Returns:
        The process. Start it from the main thread, and end it before this process ends: see
        :func:`signals_raise`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Turn requests to end into SystemExit, unless the program handles or ignores them."""
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    changed = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def end_with_parent() -> None:
    """Let this process end with the one that started it by :func:`run_child`, if there is one.

    On Linux the system ends it, elsewhere a thread that looks twice a second. (On Windows
    nothing does: a killed parent leaves its child, whose work dir stays locked until it ends.)

    Raises:
        SystemExit: If the parent has gone already.
    """
    parent = int(os.environ.pop(_PARENT, 0))
    if not parent or os.name == "nt":
        return
    told = _tell_system()
    if os.getppid() != parent:
        raise SystemExit(f"error: the process {parent} that started this one has ended.")
    if not told:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **settings, _PARENT: str(os.getpid())}


def _tell_system() -> bool:
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        return bool(library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0)
    return False


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL)
    os._exit(1)


def _raise(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
