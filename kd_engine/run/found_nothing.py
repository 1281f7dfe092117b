"""Score of a model that finds nothing: 0 instead of no value."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log

from kd_engine.entry_points import task_of


class FoundNothingHook(Hook):  # type: ignore[misc]
    """Give 0 to the metrics that an evaluator left out because there was nothing to score.

    mmdet's CocoMetric gives no value at all for a detector without a single box: then ``save_best``
    fails, and a test ends without a line. The task names these metrics. The hook comes before
    those that read the metrics.
    """

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Fill the metrics of a validation."""
        self._fill(runner, runner.val_loop, metrics)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Fill the metrics of a test."""
        self._fill(runner, runner.test_loop, metrics)

    def _fill(self, runner: Any, loop: Any, metrics: dict[str, float] | None) -> None:
        if metrics is None:
            return
        names_of = task_of(runner.cfg).metric_names
        expected = [name for one in loop.evaluator.metrics for name in names_of(one)]
        missing = [name for name in expected if name not in metrics]
        if not missing:
            return
        metrics.update(dict.fromkeys(missing, 0.0))
        print_log(
            f"the model found nothing on {len(loop.dataloader.dataset):,} images, not one box of "
            f"any score: {', '.join(missing[:3])}{' and others' if len(missing) > 3 else ''} are "
            "0. Is it trained, and do the images come as in training (size, mean and std)?",
            "current",
            logging.WARNING,
        )
