"""Cost of distilling a detector, in time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from benchmarks.det.case import DetectorCase
from benchmarks.measure import peak_bytes
from benchmarks.step_costs import cost_lines, step_costs
from kd_core.losses import HMATLoss

HMAT_LIMIT = 300e6  # bytes
_STRIDES = {"low": [4], "mid": [8, 16], "high": [32]}


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement.

    Attributes:
        size: Height and width in pixels of the images of a step.
        batch: Number of images of a step.
        rounds: Rounds that count; two come before them.
        device: Where to run.
        hmat_size: Height and width of the two images of the memory measurement.
    """

    size: tuple[int, int] = (256, 320)
    batch: int = 2
    rounds: int = 12
    device: str = "cpu"
    hmat_size: tuple[int, int] = (800, 1333)


def measure_distillation(config: Config, settings: Settings) -> dict[str, Any]:
    """Measure a distilled step against a step of the student alone and a run of the teacher.

    Args:
        config: A distillation config; its weights are not loaded.
        settings: How to measure.

    Returns:
        A dict that JSON can hold: seconds of each round, medians, ratios, bytes.

    Raises:
        ValueError: If the config has no teacher, or the two students do not do the same work.
    """
    device = torch.device(settings.device)
    case = DetectorCase(config, settings.size, settings.batch, device)
    return {
        **step_costs(case, settings.rounds, device),
        "settings": {"size": list(settings.size), "batch": settings.batch,
                     "rounds": settings.rounds, "hmat_size": list(settings.hmat_size)},
        "hmat_bytes": hmat_bytes(settings.hmat_size, device),
        "hmat_limit_bytes": HMAT_LIMIT,
    }  # fmt: skip


def hmat_bytes(
    size: tuple[int, int], device: torch.device, channels: int = 256, images: int = 2
) -> dict[str, int]:
    """Measure the memory that HMAT needs beyond the features, forward and backward.

    The gradient of the student's features is part of it.

    Args:
        size: Height and width of the images in pixels.
        device: Where to run.
        channels: Channels of the maps.
        images: Number of images.

    Returns:
        Bytes for the map of stride 4 alone in the low role, and for a pyramid of the strides 4
        (low), 8 and 16 (mid) and 32 (high); and the bytes of one network's map of stride 4.
    """
    generator = torch.Generator().manual_seed(0)

    def maps(stride: int) -> Tensor:
        shape = (images, channels, -(-size[0] // stride), -(-size[1] // stride))
        return torch.randn(shape, generator=generator).to(device)

    def pyramid(grad: bool) -> dict[str, list[Tensor]]:
        return {
            role: [maps(stride).requires_grad_(grad) for stride in strides]
            for role, strides in _STRIDES.items()
        }

    student, teacher = pyramid(True), pyramid(False)
    loss = HMATLoss()

    def action(roles: tuple[str, ...]) -> Callable[[], None]:
        def run() -> None:
            values = loss({r: student[r] for r in roles}, {r: teacher[r] for r in roles})
            torch.stack(list(values.values())).sum().backward()

        return run

    result = {"stride_4_map": teacher["low"][0].numel() * 4}
    for name, roles in (("stride_4", ("low",)), ("pyramid", tuple(_STRIDES))):
        result[name] = peak_bytes(action(roles), device)
        for maps_of_role in student.values():
            for item in maps_of_role:
                item.grad = None
    return result


def describe(report: dict[str, Any]) -> str:
    """Return the report as the tables that the command prints."""
    settings = report["settings"]
    height, width = settings["size"]
    lines = [
        report["machine"],
        f"{settings['batch']} images of {height} x {width}, {settings['rounds']} rounds\n",
        *cost_lines(report, _TITLES),
        "",
        *_hmat_lines(report),
    ]
    return "\n".join(lines)


_TITLES = {
    "student": "student step",
    "teacher": "teacher extract_feat",
    "distilled": "distilled step",
}


def _hmat_lines(report: dict[str, Any]) -> list[str]:
    found = {name: f"{value / 1e6:.0f} MB" for name, value in report["hmat_bytes"].items()}
    height, width = report["settings"]["hmat_size"]
    return [
        f"HMAT beyond the features, two images of {height} x {width}, 256 channels: "
        f"{found['stride_4']} on the map of stride 4 ({found['stride_4_map']} itself), "
        f"{found['pyramid']} on strides 4 to 32",
        f"  wanted: at most {report['hmat_limit_bytes'] / 1e6:.0f} MB",
    ]
