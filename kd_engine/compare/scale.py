"""Scale of a metric: its short name, its direction, and how its values are written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kd_engine.errors import nearest_names

# Words of a metric's name that say that less is better.
_LOWER = {
    "loss", "error", "err", "mae", "mse", "rmse", "nll", "ece", "eer", "perplexity",
    "distance", "latency", "time",
}  # fmt: skip
_SHOWN = 4  # metrics, unless others are asked for
_PREFERRED = ("coco/bbox_mAP",)  # where a detector is scored by several evaluators


@dataclass(frozen=True)
class Scale:
    """Way to write the values of a metric.

    Attributes:
        metric: Its whole name, such as ``coco/bbox_mAP``.
        lower_is_better: Whether a lower value is a better one.
        percent: Whether values are shares, 0 to 1, which are shown in percent.
        decimals: Digits after the point.
    """

    metric: str
    lower_is_better: bool = False
    percent: bool = False
    decimals: int = 3

    @property
    def name(self) -> str:
        """The short name: ``mAP`` of ``coco/bbox_mAP``."""
        return self.metric.rpartition("/")[2].removeprefix("bbox_")

    @property
    def heading(self) -> str:
        """The whole name, and that it is in percent if it is."""
        return f"{self.metric}, %" if self.percent else self.metric

    def is_score(self, value: float) -> bool:
        """Return whether a value is a score: neither NaN nor COCO's -1 for "no such objects"."""
        return not (math.isnan(value) or (self.percent and value == -1))

    def value(self, value: float) -> str:
        """Write a score or a deviation."""
        return f"{self._shown(value):.{self.decimals}f}" if self.is_score(value) else "-"

    def change(self, value: float) -> str:
        """Write a difference, with its sign."""
        return "-" if math.isnan(value) else f"{self._shown(value):+.{self.decimals}f}"

    def _shown(self, value: float) -> float:
        return round(100 * value if self.percent else value, self.decimals) + 0.0  # no -0.0


def scale_of(metric: str, values: Iterable[float], lower_is_better: bool | None = None) -> Scale:
    """Decide how a metric is written: shares in percent, others as they are.

    Args:
        metric: Its name.
        values: All values of it that are compared.
        lower_is_better: Its direction; None to read it off the name (``loss``, ``error``, ...).
    """
    lower = is_lower_better(metric) if lower_is_better is None else lower_is_better
    finite = [value for value in values if math.isfinite(value)]
    percent = not lower and all(0 <= value <= 1 or value == -1 for value in finite)
    largest = max(map(abs, finite), default=0.0)
    return Scale(metric, lower, percent, decimals=2 if percent or largest >= 10 else 3)


def is_lower_better(metric: str) -> bool:
    """Return whether a metric's name says that less is better.

    Example:
        >>> [is_lower_better(name) for name in ("cls/top1", "cls/top1_error", "val/meanLoss")]
        [False, True, True]
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", metric.rpartition("/")[2])
    return bool(_LOWER & {word.lower() for word in words})


def choose_metrics(found: Sequence[Iterable[str]], wanted: Sequence[str] = ()) -> list[str]:
    """Return the metrics of a comparison; the verdict is about the first of them.

    Args:
        found: Names of the metrics of each run.
        wanted: Names that were asked for; none for the first four that every run has.

    Raises:
        ValueError: If a name is not in every run, or the runs have none in common.
    """
    if not found:
        return list(wanted)
    first, *others = [list(names) for names in found]
    common = [name for name in first if all(name in names for names in others)]
    if not common:
        raise ValueError(
            "runs that are compared must share a metric, but no metric is in all of them: "
            f"{'; '.join(sorted({', '.join(names) for names in (first, *others)}))}. Compare runs "
            "of one task, measured by the same evaluator."
        )
    for name in wanted:
        if name not in common:
            raise ValueError(
                f"a metric must be one that every run has, but {name!r} is not."
                f"{nearest_names(name, common)}"
            )
    preferred = [name for name in _PREFERRED if name in common]
    return list(dict.fromkeys(wanted)) or list(dict.fromkeys([*preferred, *common]))[:_SHOWN]
