"""A local server in place of the public ones."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served under."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def save_run():
    """Write a checkpoint as a run saves it."""

    def save(path: Path, iteration: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        hub = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}
        weights = {"w": torch.full((4,), float(iteration))}
        meta = {"iter": iteration, "epoch": 0}
        torch.save({"meta": meta, "state_dict": weights, "message_hub": hub}, path)
        return path

    return save


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Texts of the warnings that mmengine's logger is given."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)  # an earlier run may have asked for errors alone
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)
    logger.setLevel(level)
