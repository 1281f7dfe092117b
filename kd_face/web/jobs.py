"""Jobs: long work of the server in the background, one at a time, with its progress."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kd_face.errors import Conflict, FaceError
from kd_face.home import now

_log = logging.getLogger("kd_face.web")


@dataclass
class Job:
    """Work in the background.

    Args:
        kind: Such as "import".
        actor: Who has started it.
        started_at: When.
        done: Steps that are done.
        total: Steps in all; 0 where that is not known.
        lines: What it reports.
        error: Why it has failed, or empty.
        is_running: Whether it has not ended.
    """

    kind: str
    actor: str
    started_at: datetime = field(default_factory=now)
    done: int = 0
    total: int = 0
    lines: list[Any] = field(default_factory=list)
    error: str = ""
    is_running: bool = True


class Jobs:
    """The job that runs, and the last one of each kind.

    What is stored is stored in small transactions, so that a job that ends with the server loses
    nothing that it has reported; started again it goes on from there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, Job] = {}

    def start(self, kind: str, actor: str, work: Callable[[Job], None]) -> Job:
        """Start a job in a thread.

        Args:
            kind: Such as "import".
            actor: Who starts it.
            work: Does it, and writes its progress into the job.

        Raises:
            Conflict: If another one runs.
        """
        with self._lock:
            if running := self.running():
                raise Conflict(
                    f"one job runs at a time, and {running.actor} has started: {running.kind}. "
                    "Wait until it has ended."
                )
            job = self._last[kind] = Job(kind, actor)
        threading.Thread(target=_run, args=(job, work), daemon=True).start()
        return job

    def last(self, kind: str) -> Job | None:
        """Return the job of a kind that runs or was the last, or None."""
        return self._last.get(kind)

    def running(self) -> Job | None:
        """Return the job that runs, or None."""
        return next((one for one in self._last.values() if one.is_running), None)


def _run(job: Job, work: Callable[[Job], None]) -> None:
    try:
        work(job)
    except FaceError as error:
        job.error = str(error)
    except Exception:
        _log.exception("a job has failed")
        job.error = "the server has failed. Its log says why."
    finally:
        job.is_running = False
