"""Cost of distilling a classifier, in time and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config

from benchmarks.cls.case import HEADED, STUDENT, ClassifierCase
from benchmarks.cls.torchdistill_case import with_peer
from benchmarks.step_costs import DISTILLED, cost_lines, step_costs

_TITLES = {
    STUDENT: "student step",
    HEADED: "step of student with heads",
    DISTILLED: "distilled step",
}


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement.

    Attributes:
        size: Height and width in pixels of the images; ``None`` takes the student's size.
        batch: Number of images of a step.
        rounds: Rounds that count; two come before them.
        device: Where to run.
    """

    size: tuple[int, int] | None = None
    batch: int = 64
    rounds: int = 60
    device: str = "cpu"


def measure_distillation(config: Config, settings: Settings) -> dict[str, Any]:
    """Measure a distilled step against the steps of its networks alone.

    Args:
        config: A config of a classifier with something attached; its weights are not loaded.
        settings: How to measure.

    Returns:
        The dict of :func:`benchmarks.step_costs.step_costs` with ``settings``, and in ``peer`` a
        sentence about torchdistill.

    Raises:
        ValueError: If the model is a plain classifier, or the steps do not do the same work.
    """
    device = torch.device(settings.device)
    own = ClassifierCase(config, settings.size, settings.batch, device)
    case, remark = with_peer(own)
    return {
        **step_costs(case, settings.rounds, device),
        "settings": {"size": list(own.size), "batch": settings.batch,
                     "rounds": settings.rounds},
        "peer": remark,
    }  # fmt: skip


def describe(report: dict[str, Any]) -> str:
    """Return the report as the tables that the command prints."""
    settings = report["settings"]
    height, width = settings["size"]
    lines = [
        report["machine"],
        f"{settings['batch']} images of {height} x {width}, {settings['rounds']} rounds\n",
        *cost_lines(report, _TITLES),
        "",
        report["peer"],
    ]
    return "\n".join(lines)
