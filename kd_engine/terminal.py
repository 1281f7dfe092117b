"""Terminal output of a command: no banners of libraries, and no long silence."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TextIO

QUIET = 15.0  # seconds without a line after which one is printed
_KEPT = 1000  # lines of libraries, until there is a log file
# Packages whose prints (banners, COCO's progress and tables) go to the log file alone.
_NOISY = ("faster_coco_eval", "lvis", "mmcv", "mmdet", "mmengine", "pycocotools")
# Warnings without a remedy.
_NEEDLESS = (
    "faster_coco_eval is not installed",
    "Failed to add <class 'mmengine.visualization",
    ".*instance named of .* has been created, the method `get_instance`",
)
# Messages of mmengine and mmdet that begin like this go to the log file alone.
_FILE_ONLY = (
    "\n" + "-" * 60 + "\nSystem environment:",
    "Config:\n",
    "Hooks will be executed in the following order",
    "Distributed training is not used, all SyncBatchNorm",
    "Checkpoints will be saved to ",
    "Exp name: ",
    "Loads checkpoint by ",
    "paramwise_options -- ",
    "Evaluating ",
    "Converting ground truth to coco format",
    "bbox_mAP_copypaste: ",
    "segm_mAP_copypaste: ",
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    "Failed to search registry with scope",
)
TABLES = ("\n+-", "\n" + "-" * 15 + "iou_thr")  # of classes, after each validation
_open: list[Terminal] = []


@contextlib.contextmanager
def short_terminal(doing: str, quiet: float = QUIET) -> Iterator[None]:
    """Keep the noise of libraries off the terminal, and print now and then what is being done.

    What they print goes to the log file of the run, once there is one. ``KD_TRACEBACK=1`` shows
    everything on the terminal as well.

    Args:
        doing: What the command does first, such as "loading the config".
        quiet: Seconds without a line after which one is printed.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        if not os.environ.get("KD_TRACEBACK"):
            for message in _NEEDLESS:
                warnings.filterwarnings("ignore", message=message)
        terminal = stack.enter_context(Terminal(sys.stdout, doing, quiet))
        stack.enter_context(contextlib.redirect_stdout(terminal))
        yield


def set_status(doing: str | Callable[[], str]) -> None:
    """Note what a command is doing, for the line that breaks a long silence.

    Args:
        doing: A text, or a function that makes it when it is needed; "" prints nothing.
    """
    if _open:
        _open[-1].doing, _open[-1].since = doing, time.monotonic()


def shorten_log(logger: logging.Logger, beginnings: tuple[str, ...] = _FILE_ONLY) -> None:
    """Keep the dumps of a run's start off the terminal, and take prints into the log file.

    Args:
        logger: That of a run, with its log file.
        beginnings: Messages that begin like these go to the log file alone.
    """
    if not _open or os.environ.get("KD_TRACEBACK"):
        return
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:  # a file's is a subclass
            handler.addFilter(lambda record: _is_for_people(record, beginnings))
    _open[-1].attach(logger)


def clock(seconds: float) -> str:
    """Write a duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class Terminal(io.TextIOBase):
    """Standard output without the prints of libraries, and with a line after a long silence.

    Args:
        stream: Where the rest goes.
        doing: What the command does first.
        quiet: Seconds without a line after which one is printed.
    """

    def __init__(self, stream: TextIO, doing: str, quiet: float = QUIET) -> None:
        self.stream, self.quiet = stream, quiet
        self.doing: str | Callable[[], str] = doing
        self.since = self.last = time.monotonic()
        self.owner = os.getpid()
        self.logger: logging.Logger | None = None
        self.noise = ""
        self.ended = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Terminal:
        _open.append(self)
        if _is_first_process():
            self.watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        _open.remove(self)
        self.attach(self.logger)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self.stream.encoding

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self.stream.fileno()

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()

    def write(self, text: str) -> int:
        """Write, unless a library prints it."""
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        ours = os.getpid() == self.owner and not self.ended.is_set()
        if ours and caller.split(".")[0] in _NOISY and not os.environ.get("KD_TRACEBACK"):
            self.noise += text
            if "\n" in text:
                self.attach(self.logger)
            return len(text)
        self.last = time.monotonic()
        return self.stream.write(text)

    def attach(self, logger: logging.Logger | None) -> None:
        """Put what libraries have printed into the log file."""
        self.logger = logger
        lines = self.noise.splitlines()
        self.noise = "" if logger else "\n".join([*lines[-_KEPT:], ""] if lines else [])
        for line in filter(str.strip, lines if logger else ()):
            assert logger is not None
            record = logger.makeRecord(logger.name, logging.INFO, "", 0, line, (), None)
            record.file_only = True
            logger.handle(record)

    def _watch(self) -> None:
        while not self.ended.wait(min(1.0, self.quiet / 5)):
            now = time.monotonic()
            if self.doing and now - self.last >= self.quiet:
                self.last = now
                with contextlib.suppress(ValueError, OSError):  # the stream is closed
                    self.stream.write(f"... {self._status()} ({clock(now - self.since)})\n")
                    self.stream.flush()

    def _status(self) -> str:
        return self.doing() if callable(self.doing) else self.doing


def _is_for_people(record: logging.LogRecord, beginnings: tuple[str, ...]) -> bool:
    file_only = getattr(record, "file_only", False)
    return not file_only and not record.getMessage().startswith(beginnings)


def _is_first_process() -> bool:
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID"))
