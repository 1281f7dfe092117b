"""Tables of costs and joint scores: the raw values first, then what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kd_core.table import format_table, markdown_table
from kd_engine.cost.latency import WARM_UP, Latency
from kd_engine.cost.measure import Measurement, ModelCost
from kd_engine.cost.score import (
    RHO_TARGET,
    References,
    compression,
    gap_closed,
    joint_score,
)

STORED = "stored: all tensors that kdkit export writes, without their names and the config"
MACS = (
    "MACs: multiply-adds (FLOP / 2) of convolutions, matrix products and attention, by "
    "torch.utils.flop_counter; normalization, activation, pooling and NMS count as nothing"
)
_COSTS = ("parameters", "stored", "MACs", "latency")


@dataclass(frozen=True)
class Arm:
    """Model in a table of joint scores.

    Attributes:
        name: Its name.
        score: Its score; the mean where there are several seeds.
        deviation: Deviation of the score over seeds; None for one seed.
        cost: Its costs.
        alone: Name of the model that is its student trained alone, if there is one.
    """

    name: str
    score: float
    deviation: float | None
    cost: ModelCost
    alone: str | None = None


def cost_lines(measured: Measurement) -> list[str]:
    """Write costs as a table for a terminal, with notes on how they were counted."""
    devices = list(next(iter(measured.models.values())).latency)
    rows = [
        (name, *_sizes(cost), *(_spread(cost.latency[device]) for device in devices))
        for name, cost in measured.models.items()
    ]
    numbers = [f"{_COSTS[-1]} [{number}]" for number in range(1, len(devices) + 1)]
    header = ("model", *_COSTS[:-1], *(numbers if devices[1:] else _COSTS[-1:]))
    rounds = next(iter(measured.models.values())).latency[devices[0]].rounds
    named = [f"[{number}] " * bool(devices[1:]) + one for number, one in enumerate(devices, 1)]
    return [
        *format_table(header, rows, "<" + ">" * (len(header) - 1)),
        "",
        STORED,
        MACS,
        f"latency: median (quartiles) of {rounds} rounds, after {WARM_UP} that warm up; from the "
        f"resized image to the prediction; on {'; '.join(named)}",
        f"input: {measured.image}; a batch of 1",
        *(f"weights: {name} has {cost.weights}" for name, cost in measured.models.items()),
        *(f"note: {note}" for note in measured.notes),
    ]


def compression_lines(measured: Measurement, teacher: str, student: str) -> list[str]:
    """Say how much smaller a student is than its teacher, one line for each device.

    Args:
        measured: The costs of both.
        teacher: The teacher's name among them.
        student: The student's.
    """
    large, small = measured.models[teacher], measured.models[student]
    lines = []
    for device in small.latency:
        of_teacher, of_student = large.on(device), small.on(device)
        rho, efficiency = compression(of_student, of_teacher)
        lines.append(
            f"{teacher} / {student}: stored {of_teacher.stored_bytes / of_student.stored_bytes:.2f}"
            f", MACs {of_teacher.macs / of_student.macs:.2f}, latency "
            f"{of_teacher.seconds / of_student.seconds:.2f}; geometric mean rho {rho:.2f}, "
            f"E {efficiency:.2f} (rho target {RHO_TARGET:g}), on {device}"
        )
    return lines


def joint_lines(
    arms: Sequence[Arm], references: References, scores: str, show: Callable[[float], str]
) -> list[str]:
    """Write scores and costs, then joint scores and the gap closed, as Markdown tables.

    Args:
        arms: The models; the teacher may be one of them.
        references: What the joint scores are relative to.
        scores: Heading of the scores.
        show: Writes a score or a deviation.

    Returns:
        Lines: the raw table, the table of R, rho, E, S and gap closed, the references in words.

    Raises:
        ValueError: If an arm's student alone is not among them.
    """
    raw = [
        (arm.name, _shown(arm, show), *_sizes(arm.cost),
         _spread(arm.cost.latency[references.device]))
        for arm in arms
    ]  # fmt: skip
    gaps = [_gap(arm, arms, references) for arm in arms]
    closed = any(arm.alone for arm in arms)
    joint = [
        (arm.name, *_joint(arm, references), *[gap] * closed)
        for arm, gap in zip(arms, gaps, strict=True)
    ]
    head = ("model", "R", "rho", "E", "S = R x E", *["gap closed"] * closed)
    return [
        *markdown_table(
            ("model", scores, "parameters", "stored", "MACs", "latency"), raw, "<>>>>>"
        ),
        "",
        *markdown_table(head, joint, "<" + ">" * (len(head) - 1)),
        "",
        f"S is relative to: {references.describe()}.",
        *[_GAP] * closed,
    ]


def as_json(measured: Measurement) -> dict[str, Any]:
    """Return costs as plain values, in bytes, multiply-adds and seconds."""
    return {
        "models": {name: asdict(cost) for name, cost in measured.models.items()},
        "image": measured.image,
        "notes": list(measured.notes),
        "counted": [STORED, MACS],
    }


_GAP = (
    "Gap closed: (model - its student alone) / (teacher - its student alone); blank where the "
    "teacher leads by less than two deviations of the student alone, or that has one seed."
)


def _sizes(cost: ModelCost) -> tuple[str, str, str]:
    return (
        f"{cost.parameters:,}",
        f"{cost.stored_bytes / 2**20:.2f} MiB",
        f"{cost.macs / 1e9:.3f} G" if cost.macs >= 1e8 else f"{cost.macs / 1e6:.3f} M",
    )


def _spread(latency: Latency) -> str:
    low, median, high = (1000 * one for one in (latency.low, latency.median, latency.high))
    return f"{median:.2f} ms ({low:.2f} to {high:.2f})"


def _joint(arm: Arm, references: References) -> tuple[str, str, str, str]:
    found = joint_score(arm.score, arm.cost.on(references.device), references)
    scale = found.efficiency / (references.teacher_score - references.worthless)
    shaky = arm.deviation is not None and found.retention > 0  # at 0 it is cut off
    scatter = f" +- {scale * (arm.deviation or 0):.2f}" if shaky else ""
    return (
        f"{found.retention:.2f}",
        f"{found.rho:.2f}",
        f"{found.efficiency:.2f}",
        f"{found.value:.2f}{scatter}",
    )


def _gap(arm: Arm, arms: Sequence[Arm], references: References) -> str:
    if arm.alone is None:
        return ""
    named = {one.name: one for one in arms}
    if arm.alone not in named:
        raise ValueError(
            f"the student alone must be one of {', '.join(named)}, but it is {arm.alone!r}."
        )
    alone = named[arm.alone]
    share = gap_closed(alone.score, arm.score, references.teacher_score, alone.deviation)
    return "" if share is None else f"{share:.0%}"


def _shown(arm: Arm, show: Callable[[float], str]) -> str:
    return show(arm.score) + ("" if arm.deviation is None else f" +- {show(arm.deviation)}")
