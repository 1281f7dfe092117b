"""Runner: mmengine's, with the hooks and the short terminal output of every run here."""

from __future__ import annotations

import copy
import os
from typing import Any

import mmengine.runner
from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer
from torch import nn

from kd_engine.run.found_nothing import FoundNothingHook
from kd_engine.run.report import RunReportHook
from kd_engine.run.run_length import RunLengthHook
from kd_engine.run.visualizer import LogVisualizer
from kd_engine.terminal import TABLES, set_status, shorten_log


class Runner(mmengine.runner.Runner):  # type: ignore[misc]
    """Runner of mmengine; a model that finds nothing is scored with 0.

    The log file holds all that mmengine's does. The terminal (`kd_engine.terminal`) shows a short
    head before the first iteration instead of the dumps of environment, config and hooks, and a
    last line.
    """

    dumped_config = ""  # of the first process

    def __init__(self, *arguments: Any, **options: Any) -> None:
        set_status("building the model")
        if isinstance(options.get("cfg"), Config):
            options["cfg"] = _FormattedOnce.of(options["cfg"])
        super().__init__(*arguments, **options)
        self._report = RunReportHook()
        self.register_hook(FoundNothingHook(), priority="HIGHEST")
        self.register_hook(RunLengthHook())
        self.register_hook(self._report, priority="LOWEST")

    def build_logger(self, *arguments: Any, **options: Any) -> MMLogger:
        """Build the logger, and keep off the terminal what only the log file needs."""
        logger: MMLogger = super().build_logger(*arguments, **options)
        shorten_log(logger)
        return logger

    def build_visualizer(self, visualizer: Visualizer | dict[str, Any] | None = None) -> Visualizer:
        """Build what logs values and draws; by default it imports matplotlib only to draw."""
        if visualizer is not None:
            return super().build_visualizer(visualizer)
        backends = [dict(type="LocalVisBackend")]
        return LogVisualizer.get_instance(
            self._experiment_name, vis_backends=backends, save_dir=self._log_dir
        )

    @master_only  # type: ignore[untyped-decorator]
    def dump_config(self) -> None:
        """Write the whole config to the work dir, but never over a file that is not such a dump."""
        name = os.path.basename(self.cfg.filename or f"{self.timestamp}.py")
        path = os.path.join(self.work_dir, name)
        if os.path.exists(path) and not _is_dump(path):
            path = os.path.join(self.work_dir, f"{self.timestamp}.py")
        self.cfg.dump(path)
        self.dumped_config = path

    def train(self) -> nn.Module:
        """Train, and end with a line that names the result and possible next commands."""
        shorten_log(self.logger, TABLES)
        set_status("reading the data")
        model: nn.Module = super().train()
        self.logger.info(self._report.last_line(self))
        return model


class _FormattedOnce(Config):  # type: ignore[misc]
    """Config that is formatted again only where it has changed.

    mmengine wants its text for the log, for the dump and for every checkpoint.
    """

    _latest = ("", "")  # what was formatted, and its text

    @classmethod
    def of(cls, config: Config) -> Config:
        """Return a copy of a config that is of this class."""
        copied = copy.copy(config)
        object.__setattr__(copied, "__class__", cls)
        return copied

    @property
    def pretty_text(self) -> str:
        """Return the config as the text of a Python program."""
        content = repr(self)
        if self._latest[0] != content:
            type(self)._latest = content, super().pretty_text
        return self._latest[1]


def _is_dump(path: str) -> bool:
    """Return whether a file is a config as a run writes it: whole, with the run's work dir."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    return any(line.startswith("work_dir = ") for line in lines) and not any(
        line.startswith(("_base_", "#", "import ", "from ", '"""')) for line in lines
    )
