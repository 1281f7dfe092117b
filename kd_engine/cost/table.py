"""Tables of costs and joint scores: the raw values first, then what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kd_core.table import format_table, markdown_table
from kd_engine.cost.latency import WARM_UP, Latency
from kd_engine.cost.measure import Measurement, ModelCost
from kd_engine.cost.score import (
    RHO_TARGET,
    JointScore,
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


@dataclass(frozen=True)
class Arm:
    """Model in a table of joint scores.

    Attributes:
        name: Its name.
        score: Its score; the mean where there are several seeds.
        deviation: Deviation of the score over seeds; None for one seed.
        cost: Its costs.
    """

    name: str
    score: float
    deviation: float | None
    cost: ModelCost


def cost_lines(measured: Measurement) -> list[str]:
    """Write costs as a table for a terminal, with notes on how they were counted."""
    devices = list(next(iter(measured.models.values())).latency)
    rows = [
        (name, *_sizes(cost), *(_spread(cost.latency[device]) for device in devices))
        for name, cost in measured.models.items()
    ]
    numbers = [f"latency [{number}]" for number in range(1, len(devices) + 1)]
    header = ("model", "parameters", "stored", "MACs", *(numbers if devices[1:] else ["latency"]))
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
    arms: Sequence[Arm], references: References, alone: str | None = None, percent: bool = False
) -> list[str]:
    """Write scores and costs, then joint scores and the gap closed, as Markdown tables.

    Args:
        arms: The models; the teacher may be one of them.
        references: What the joint scores are relative to.
        alone: Name of the student that was trained alone; None leaves the gap closed out.
        percent: Show scores times 100.

    Returns:
        Lines: the raw table, the table of R, rho, E, S and gap closed, the references in words.

    Raises:
        ValueError: If there is no arm of the name ``alone``.
    """
    found = {arm.name: joint_score(arm.score, arm.cost.on(references.device), references)
             for arm in arms}  # fmt: skip
    gaps = _gaps(arms, references, alone)
    show = _percent if percent else _plain
    raw = [
        (arm.name, show(arm.score, arm.deviation), *_sizes(arm.cost),
         _spread(arm.cost.latency[references.device]))
        for arm in arms
    ]  # fmt: skip
    joint = [
        (arm.name, *_joint(arm, found[arm.name]), *([gaps[arm.name]] if gaps else []))
        for arm in arms
    ]
    scores = ("model", "R", "rho", "E", "S = R x E", *(["gap closed"] if gaps else []))
    return [
        *markdown_table(
            ("model", references.metric, "parameters", "stored", "MACs", "latency"), raw, "<>>>>>"
        ),
        "",
        *markdown_table(scores, joint, "<" + ">" * (len(scores) - 1)),
        "",
        f"S is relative to: {references.describe()}.",
        *([_GAP.format(alone=alone)] if gaps else []),
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
    "gap closed: (model - {alone}) / (teacher - {alone}); blank where the teacher leads by less "
    "than two deviations of {alone}, or that has one seed."
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


def _joint(arm: Arm, found: JointScore) -> tuple[str, str, str, str]:
    references = found.references
    scale = found.efficiency / (references.teacher_score - references.worthless)
    scatter = "" if arm.deviation is None else f" +- {scale * arm.deviation:.2f}"
    return (
        f"{found.retention:.2f}",
        f"{found.rho:.2f}",
        f"{found.efficiency:.2f}",
        f"{found.value:.2f}{scatter}",
    )


def _gaps(
    arms: Sequence[Arm], references: References, alone: str | None
) -> Mapping[str, str] | None:
    if alone is None:
        return None
    named = {arm.name: arm for arm in arms}
    if alone not in named:
        raise ValueError(
            f"the student alone must be one of {', '.join(named)}, but it is {alone!r}."
        )
    plain = named[alone]
    shares = {
        name: gap_closed(plain.score, arm.score, references.teacher_score, plain.deviation)
        for name, arm in named.items()
    }
    return {
        name: "" if share is None or name == alone else f"{share:.0%}"
        for name, share in shares.items()
    }


def _plain(score: float, deviation: float | None) -> str:
    return f"{score:.3f}" + ("" if deviation is None else f" +- {deviation:.3f}")


def _percent(score: float, deviation: float | None) -> str:
    scatter = "" if deviation is None else f" +- {100 * deviation:.1f}"
    return f"{100 * score:.1f}{scatter}"
