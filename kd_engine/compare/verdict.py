"""Verdict of a comparison: what the paired differences prove, in a sentence or two."""

from __future__ import annotations

from kd_engine.compare.scale import Scale
from kd_engine.compare.statistics import Difference


def verdict(
    arm: str,
    difference: Difference,
    scale: Scale,
    baseline: str = "the student alone",
    distils: bool = True,
) -> str:
    """Say whether an arm is better than its baseline.

    Args:
        arm: Its name.
        difference: Its scores minus those of the baseline.
        scale: How the metric is written.
        baseline: What it is compared with.
        distils: Whether the two differ by distillation, which then "helps" or "harms".

    Example:
        >>> gains = Difference({0: 0.030, 1: 0.034, 2: 0.029})
        >>> print(verdict("hmat", gains, Scale("coco/bbox_mAP", percent=True, decimals=1)))
        hmat helps: +3.1 mAP, 95 % interval +2.4 to +3.8, better with 3 of 3 seeds.
    """
    outcome, seeds = difference.outcome, len(difference.values)
    change = f"{scale.change(difference.mean)} {scale.name}"
    figures = f"{change}, 95 % interval {_interval(difference, scale)}, {_counted(difference)}"
    if outcome == "better":
        return f"{arm} {'helps' if distils else f'is better than {baseline}'}: {figures}."
    if outcome == "worse":
        return f"{arm} {'harms' if distils else f'is worse than {baseline}'}: {figures}."
    if outcome == "unclear":
        name = arm if distils else f"{arm} against {baseline}"
        needed = _needed(difference)
        return f"{name} cannot be told from noise with {seeds} seeds: {figures}; {needed}."
    if outcome == "single":
        return (
            f"{arm} with one seed: {change}, which proves nothing, because another seed may turn "
            "it round. Take at least 3 seeds, better 5: --seeds 5."
        )
    if outcome == "missing":
        return f"{arm} has no seed in common with {baseline} that has a score."
    return (
        f"{arm} differs from {baseline} by exactly {change} with each of {seeds} seeds: they "
        "change nothing, so this is one measurement, which proves nothing."
    )


def verdict_on_time(arm: str, difference: Difference, scale: Scale, longer: str) -> str:
    """Say whether an arm is better than the student alone that was trained as long.

    Args:
        arm: Name of the distilled arm.
        difference: Its scores minus those of the longer training.
        scale: How the metric is written.
        longer: Name of the longer training.
    """
    outcome = difference.outcome
    change = f"{scale.change(difference.mean)} {scale.name}"
    figures = f"{change}, 95 % interval {_interval(difference, scale)}, {_counted(difference)}"
    if outcome == "better":
        return f"More epochs do not replace it: {arm} against {longer}: {figures}."
    if outcome == "worse":
        return f"More epochs help more: {arm} against {longer}: {figures}."
    if outcome == "unclear":
        return (
            f"Whether more epochs help as much cannot be told: {arm} against {longer}: {figures}; "
            f"{_needed(difference)}."
        )
    return f"Against {longer}: {verdict(arm, difference, scale, longer)}"


def _interval(difference: Difference, scale: Scale) -> str:
    return " to ".join(map(scale.change, difference.interval))


def _counted(difference: Difference) -> str:
    return f"better with {difference.gains} of {len(difference.values)} seeds"


def _needed(difference: Difference) -> str:
    """Say how many seeds would be needed; always more than there are."""
    seeds, needed = len(difference.values), difference.needed
    if needed is None:
        return "more than 1000 would be needed"
    return f"about {max(needed, seeds + 1)} would be needed"
