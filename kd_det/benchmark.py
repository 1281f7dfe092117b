"""What distillation costs a detector in time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from kd_core.losses import HMATLoss
from kd_det.contest import Contest, seed_all
from kd_engine.measure import describe_machine, interleave, peak_bytes, ratios, spread

RATIO_LIMIT = 1.05
HMAT_LIMIT = 300e6  # bytes
_WARM_UP = 2
_STRIDES = {"low": [4], "mid": [8, 16], "high": [32]}
_CLOCKS = ("wall", "cpu")


@dataclass(frozen=True)
class Settings:
    """How to measure.

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
    contest = Contest(config, settings.size, settings.batch, device)
    actions = contest.actions()
    interleave(actions, _WARM_UP, device, seed_all)
    times = interleave(actions, settings.rounds, device, seed_all)
    contest.check_same_work()
    ratio = {
        clock: ratios(*(times[name][clock] for name in ("distilled", "student", "teacher")))
        for clock in _CLOCKS
    }
    memory = {}
    for name, action in actions.items():
        seed_all()
        memory[name] = peak_bytes(action, device)
    terms = contest.term_actions()
    interleave(terms, 1, device)
    return {
        "machine": describe_machine(device),
        "settings": {"size": list(settings.size), "batch": settings.batch,
                     "rounds": settings.rounds, "hmat_size": list(settings.hmat_size)},
        "seconds": times,
        "ratios": ratio,
        "ratio": {clock: spread(values) for clock, values in ratio.items()},
        "ratio_limit": RATIO_LIMIT,
        "terms_seconds": interleave(terms, settings.rounds, device),
        "peak_bytes": memory,
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
        _row("median of the rounds", "wall ms", "CPU ms", "peak MB"),
    ]
    for name, times in report["seconds"].items():
        peak = f"{report['peak_bytes'][name] / 1e6:.0f}"
        lines.append(_row(_TITLES[name], *_milliseconds(times), peak))
    for name, times in report["terms_seconds"].items():
        lines.append(_row(f"  term {name} alone", *_milliseconds(times)))
    lines += ["", _row("distilled / (student + teacher)", "median", "quartiles", "range")]
    for clock, ratio in report["ratio"].items():
        lines.append(_row(
            f"  {'CPU' if clock == 'cpu' else clock} time", f"{ratio['median']:.3f}",
            f"{ratio['q1']:.3f}-{ratio['q3']:.3f}", f"{ratio['min']:.3f}-{ratio['max']:.3f}",
        ))  # fmt: skip
    lines += [f"  wanted: at most {report['ratio_limit']}", "", *_hmat_lines(report)]
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


def _row(title: str, *cells: str) -> str:
    return f"{title:32}" + "".join(f"{cell:>14}" for cell in cells)


def _milliseconds(times: dict[str, list[float]]) -> list[str]:
    return [f"{1000 * spread(times[clock])['median']:.1f}" for clock in _CLOCKS]
