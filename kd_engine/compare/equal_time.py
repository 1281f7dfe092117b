"""Equal time: the student alone, trained for as long as the distilled one takes.

A distilled iteration costs more, because the teacher runs in it. Whoever has the time could train
the student alone for more epochs instead; this arm shows what that would give.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from kd_engine.compare.arms import TrainedArm, make_arm
from kd_engine.compare.longer import longer
from kd_engine.compare.results import Arm, Results

MEASURED = 0.0  # stands for the measured ratio


def with_equal_time(
    arms: Sequence[TrainedArm], results: Results, ratio: float
) -> tuple[list[TrainedArm], list[str]]:
    """Give each distilled arm its baseline, trained longer.

    Args:
        arms: All arms that are trained; distilled ones name their baseline.
        results: Their finished runs, and the factors that were measured before: these stay, so
            that a comparison that carries on takes the same number of epochs.
        ratio: Times that the training is as long; MEASURED for the distilled run's training time
            relative to the baseline's, the median over the seeds that both have.

    Returns:
        The longer arms, then the distilled ones, which name them; and why some have none, a
        sentence each.

    Raises:
        ValueError: If a schedule cannot be stretched.
    """
    by_name = {one.arm.name: one for one in arms}
    found: dict[str, TrainedArm] = {}
    distilled, problems = [], []
    for one in arms:
        baseline = by_name.get(one.arm.baseline or "")
        if one.arm.kind != "distilled" or baseline is None:
            continue
        factor = ratio or _known(one.arm, results) or _measured(one.arm, baseline.arm, results)
        if factor is None:
            problems.append(
                f"{one.arm.name} has no arm of equal time: no seed of it and of "
                f"{baseline.arm.name} has finished with its time in the log. Name the ratio "
                "instead: --equal-time 2"
            )
            continue
        made = _longer_arm(baseline, factor)
        if made.arm.fingerprint == baseline.arm.fingerprint:
            problems.append(
                f"{one.arm.name} has no arm of equal time: it takes {factor:.2f} times as long as "
                f"{baseline.arm.name}, which is not an epoch more."
            )
            continue
        kept = found.setdefault(made.arm.fingerprint, made)
        distilled.append(TrainedArm(dataclasses.replace(one.arm, longer=kept.arm.name), one.config))
    return [*found.values(), *distilled], problems


def _known(arm: Arm, results: Results) -> float | None:
    """Return the factor that the results hold for an arm of this fingerprint, if there is one."""
    before = results.arm(arm.name)
    if before is None or before.fingerprint != arm.fingerprint:
        return None
    longer_arm = results.arm(before.longer)
    return None if longer_arm is None else longer_arm.factor


def _measured(arm: Arm, baseline: Arm, results: Results) -> float | None:
    times, others = (_seconds(one, results) for one in (arm, baseline))
    ratios = [times[seed] / others[seed] for seed in times if others.get(seed)]
    return statistics.median(ratios) if ratios else None


def _seconds(arm: Arm, results: Results) -> Mapping[int, float]:
    runs = results.runs_of(arm)
    return {seed: run.seconds for seed, run in runs.items() if run.seconds}


def _longer_arm(baseline: TrainedArm, factor: float) -> TrainedArm:
    config = longer(baseline.config, factor)
    made = make_arm("", baseline.arm.config, config, "longer")
    arm = dataclasses.replace(
        made.arm,
        name=f"{baseline.arm.name}, {made.arm.length}",
        factor=factor,  # as it is: rounded up it might give one epoch more
        derived=True,
        baseline=baseline.arm.name,
    )
    return TrainedArm(arm, made.config)
