"""Report of a comparison: its table, its verdict, and both as Markdown and as plain values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from kd_core.table import markdown_table
from kd_engine.compare.fairness import unfair, unlike, versions_differ
from kd_engine.compare.results import Arm, Kind, Results, Run
from kd_engine.compare.scale import Scale, choose_metrics, scale_of
from kd_engine.compare.statistics import LEVEL, POWER, Difference, paired_difference
from kd_engine.compare.verdict import verdict, verdict_on_time


@dataclass(frozen=True)
class Pair:
    """An arm and the one that it is compared with.

    Attributes:
        arm: The arm.
        baseline: The other one.
        difference: Differences by seed, of the first metric.
        sentence: What they prove.
    """

    arm: Arm
    baseline: Arm
    difference: Difference
    sentence: str


class Report:
    """Report of a comparison.

    Args:
        results: The arms, and their runs.
        metrics: Columns, the verdict is about the first; none for four that the runs share.
        lower_is_better: Direction of the first metric; None to read it off its name.
        failures: Runs that have failed, a sentence each.

    Raises:
        ValueError: If no run has finished, the runs share no metric, or one that is named is not
            in all of them.
    """

    def __init__(
        self,
        results: Results,
        metrics: Sequence[str] = (),
        lower_is_better: bool | None = None,
        failures: Sequence[str] = (),
    ) -> None:
        self.results, self.failures = results, tuple(failures)
        self.files: tuple[Path, ...] = ()  # where it was written
        self.joint: list[str] = []  # lines on costs and the joint score
        self.runs = {arm.name: results.runs_of(arm) for arm in results.arms}
        every = [run for runs in self.runs.values() for run in runs.values()]
        self.metrics = choose_metrics([run.metrics for run in every], metrics)
        if not every:
            raise ValueError(f"no run has finished. {' '.join(self.failures)}".strip())
        self.scales = {
            metric: scale_of(
                metric,
                [run.metrics[metric] for run in every],
                lower_is_better if metric == self.metrics[0] else None,
            )
            for metric in self.metrics
        }

    @property
    def scale(self) -> Scale:
        """Scale of the metric that the verdict is about."""
        return self.scales[self.metrics[0]]

    def scores(self, arm: Arm, metric: str) -> dict[int, float]:
        """Return seed to value of an arm's metric, NaN where there is none."""
        found = {seed: run.metrics[metric] for seed, run in self.runs[arm.name].items()}
        is_score = self.scales[metric].is_score
        return {seed: value if is_score(value) else math.nan for seed, value in found.items()}

    @cached_property
    def pairs(self) -> list[Pair]:
        """Each arm against its baseline."""
        found = []
        for arm in self.results.arms:
            baseline = self._baseline(arm)
            if baseline is not None and self.runs[arm.name]:
                difference = self._difference(arm, baseline)
                distils = (arm.kind, baseline.kind) == ("distilled", "plain")
                sentence = verdict(arm.name, difference, self.scale, baseline.name, distils)
                found.append(Pair(arm, baseline, difference, sentence))
        return found

    @cached_property
    def pairs_in_time(self) -> list[Pair]:
        """Each distilled arm against the plain one that has its time."""
        found = []
        for arm in self.results.arms:
            longer = self.results.arm(arm.longer)
            if longer is not None and self.runs[arm.name] and self.runs[longer.name]:
                difference = self._difference(arm, longer)
                sentence = verdict_on_time(arm.name, difference, self.scale, longer.name)
                found.append(Pair(arm, longer, difference, sentence))
        return found

    def verdict(self) -> str:
        """Return what is proved, one line for each pair."""
        if len(self.results.arms) == 1:
            return f"{self.results.arms[0].name} is alone: give a config to compare it with."
        timed = {pair.arm.name: pair.sentence for pair in self.pairs_in_time}
        lines = []
        for pair in self.pairs:
            if pair.arm.kind != "longer" or not timed:
                lines.append(pair.sentence)
            if pair.arm.name in timed:
                lines.append(timed[pair.arm.name])
        return "\n".join(lines)

    def table(self) -> str:
        """Return the Markdown table: a row for each arm."""
        pairs = {pair.arm.name: pair for pair in self.pairs}
        head = [
            "arm", "seeds", *(self.scales[metric].heading for metric in self.metrics),
            f"difference, {self.scale.name}", "95 % interval", "better", "minutes a run",
        ]  # fmt: skip
        rows = []
        for arm in self.results.arms:
            cells = [self._mean(arm, metric) for metric in self.metrics]
            minutes = [run.seconds / 60 for run in self.runs[arm.name].values() if run.seconds]
            time = f"{statistics.median(minutes):.1f}" if minutes else "-"
            number = str(len(self.runs[arm.name]))
            rows.append([arm.name, number, *cells, *self._compared(pairs.get(arm.name)), time])
        return "\n".join(markdown_table(head, rows, "<" + ">" * (len(head) - 1)))

    def markdown(self) -> str:
        """Return table, verdict, warnings, failures and what the figures are."""
        said = [f"warning: {text}" for text in self.warnings]
        said += [f"failed: {text}" for text in self.failures]
        joint = "\n".join(self.joint)
        parts = [self.table(), self.verdict(), joint, "\n".join(said), self._explained()]
        return "\n\n".join(part for part in parts if part)

    def _repr_markdown_(self) -> str:
        return self.markdown()

    @cached_property
    def warnings(self) -> list[str]:
        """Reasons why the comparison may be unfair, and peculiarities of runs."""
        arms = self.results.arms
        every = [run for runs in self.runs.values() for run in runs.values()]
        pairs = [(pair.arm, pair.baseline) for pair in self.pairs]
        found = [*unfair(arms, pairs)]
        for arm in arms:
            found += unlike(arm, self.runs[arm.name].values())
        found += self._without_effect()
        found += self._not_finite()
        found += versions_differ(every)
        return found + [note for run in every for note in run.notes]

    def _not_finite(self) -> Iterator[str]:
        """Yield the seeds whose score is missing, NaN or infinite."""
        for arm in self.results.arms:
            scores = self.scores(arm, self.scale.metric)
            if seeds := [str(seed) for seed in scores if not math.isfinite(scores[seed])]:
                numbers = ", ".join(seeds)
                yield f"{arm.name}: the score of seed {numbers} is missing or not finite, left out."

    def _without_effect(self) -> Iterator[str]:
        """Yield the arms where all seeds give the same score."""
        for arm in self.results.arms:
            every = self.scores(arm, self.scale.metric).values()
            scores = [one for one in every if math.isfinite(one)]
            if len(scores) > 1 and len(set(scores)) == 1:
                yield (
                    f"{arm.name}: all {len(scores)} seeds give the same score, "
                    f"{self.scale.value(scores[0])}: does the config use the seed?"
                )

    def conclusions(self) -> dict[str, Any]:
        """Return the differences and the verdict as plain values."""
        return {
            "metric": self.scale.metric,
            "lower_is_better": self.scale.lower_is_better,
            "differences": [
                {
                    "arm": pair.arm.name,
                    "baseline": pair.baseline.name,
                    "by_seed": pair.difference.values,
                    "left_out": pair.difference.left_out,
                    "mean": pair.difference.mean,
                    "deviation": pair.difference.deviation,
                    "interval": pair.difference.interval,
                    "outcome": pair.difference.outcome,
                    "needed_seeds": pair.difference.needed,
                }
                for pair in (*self.pairs, *self.pairs_in_time)
            ],
            "verdict": self.verdict().splitlines(),
            "warnings": self.warnings,
            "failures": self.failures,
        }

    def _baseline(self, arm: Arm) -> Arm | None:
        """Return the arm's own student alone, the first plain arm, or the first arm."""
        named = self.results.arm(arm.baseline)
        if named is not None and self.runs[named.name]:
            return named
        others = [one for one in self.results.arms if self.runs[one.name]]
        plain = [one for one in others if one.kind == "plain"]
        first = next(iter([*plain, *others]), None)
        return None if first is None or first.name == arm.name else first

    def _difference(self, arm: Arm, baseline: Arm) -> Difference:
        metric = self.scale.metric
        scores, others = self.scores(arm, metric), self.scores(baseline, metric)
        return paired_difference(scores, others, self.scale.lower_is_better)

    def _mean(self, arm: Arm, metric: str) -> str:
        scale = self.scales[metric]
        values = [one for one in self.scores(arm, metric).values() if math.isfinite(one)]
        if not values:
            return "-"
        mean = scale.value(statistics.fmean(values))
        return mean if len(values) == 1 else f"{mean} +- {scale.value(statistics.stdev(values))}"

    def _compared(self, pair: Pair | None) -> tuple[str, str, str]:
        if pair is None:
            return "", "", ""
        ends = [self.scale.change(end) for end in pair.difference.interval]
        number = len(pair.difference.values)
        return (
            self.scale.change(pair.difference.mean),
            " to ".join(ends) if number > 1 else "-",
            f"{pair.difference.gains} of {number}",
        )

    def _explained(self) -> str:
        of = {pair.baseline.name: None for pair in self.pairs}
        if not of:
            return ""
        several = (
            f" Each interval is for itself: of {len(self.pairs)} differences that are none, one or "
            f"more is called one with a chance of up to {1 - LEVEL ** len(self.pairs):.0%}."
        )
        text = (
            f"Mean +- standard deviation over the seeds. Differences are to {', '.join(of)}, seed "
            "by seed; the interval is Student's t of their mean. Seeds that would be needed: a "
            f"paired t-test with {POWER:.0%} power, if the difference and its deviation are as "
            f"measured.{several if len(self.pairs) > 1 else ''} Minutes: training iterations."
        )
        if any(arm.scored_on_test for arm in self.results.arms):
            text += (
                " test_dataloader reads the data that gave these scores: choose no setting and no "
                "epoch by them, unless it is a validation part."
            )
        return text.replace("%", " %")


def report_of_scores(
    scores: Mapping[str, Mapping[int, float]], metric: str, lower_is_better: bool | None = None
) -> Report:
    """Report on scores that were measured elsewhere, as in a training loop of one's own.

    Args:
        scores: Name of each arm, the baseline first, to seed to score.
        metric: Its name.
        lower_is_better: Its direction; None to read it off the name.

    Example:
        >>> found = report_of_scores(
        ...     {"alone": {0: 70.1, 1: 70.9, 2: 70.4}, "kd": {0: 72.0, 1: 73.1, 2: 72.2}}, "top1"
        ... )
        >>> print(found.verdict())
        kd helps: +1.97 top1, 95 % interval +1.45 to +2.48, better with 3 of 3 seeds.
    """
    kinds: Iterator[Kind] = chain(["plain"], repeat("distilled"))
    arms = tuple(Arm(name, name, name, kind) for name, kind in zip(scores, kinds, strict=False))
    runs = tuple(
        Run(name, name, seed, {metric: value})
        for name, of_arm in scores.items()
        for seed, value in of_arm.items()
    )
    return Report(Results(arms, runs), (metric,), lower_is_better)
