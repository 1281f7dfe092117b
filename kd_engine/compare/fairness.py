"""Fairness of a comparison: other data, another budget, a score that was chosen by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kd_engine.compare.results import SAME, SCORED, Arm, Run
from kd_engine.resume.last_checkpoint import checkpoint_hooks


def warnings_of(config: Mapping[str, Any], scored_on_test: bool) -> list[str]:
    """Return the reasons why the score of a config may be too good.

    Args:
        config: A run's config.
        scored_on_test: Whether its validation data are its test data.
    """
    found = []
    data = "the test data" if scored_on_test else "the data that it is scored on"
    parts = [*(config.get("custom_hooks") or ()), *(config.get("default_hooks") or {}).values()]
    schedulers = config.get("param_scheduler") or ()
    parts += [schedulers] if isinstance(schedulers, Mapping) else schedulers
    types = [str(part.get("type")) for part in parts if isinstance(part, Mapping)]
    for word, what in (("EarlyStopping", "length"), ("ReduceOnPlateau", "learning rate")):
        if any(word in name for name in types):
            found.append(f"the {what} of its training is chosen on {data} ({word})")
    if scored_on_test and any(hook.get("save_best") for hook in checkpoint_hooks(config)):
        found.append(
            "its best_*.pth is chosen on the test data (save_best), so the score of that file is "
            "too good; this table takes the last epoch"
        )
    return found


def require_same_test(arms: Sequence[Arm]) -> None:
    """Require that all arms are scored on the same data.

    Raises:
        ValueError: Names two that are not.
    """
    first, *others = arms
    for other in others:
        if first.digests.get(SCORED) != other.digests.get(SCORED):
            raise ValueError(
                "runs that are compared must be scored on the same data, but val_dataloader reads "
                f"other data in {first.name} ({first.config}) than in {other.name} "
                f"({other.config}). Take configs of one dataset and split, or another --work-dir "
                "or --results file for another comparison."
            )


def unfair(arms: Sequence[Arm], pairs: Iterable[tuple[Arm, Arm]]) -> Iterator[str]:
    """Yield the reasons why a comparison may be unfair.

    Args:
        arms: All arms.
        pairs: Each arm with the one that it is compared with.
    """
    for arm, other in pairs:
        both = f"{arm.name} and {other.name}"
        same_time = "longer" not in (arm.kind, other.kind)
        if arm.length != other.length and same_time:
            yield f"{both} have another budget: {arm.length} and {other.length}."
        if arm.batch_size != other.batch_size:
            yield f"{both} have other batch sizes: {arm.batch_size} and {other.batch_size}."
        differing = [
            name
            for name in SAME
            if arm.digests.get(name) != other.digests.get(name)
            and (same_time or name != "schedule")
        ]
        if differing:
            yield f"{both} differ in more than distillation: {', '.join(differing)}."
    for arm in arms:
        yield from (f"{arm.name}: {text}." for text in arm.warnings)


def unlike(arm: Arm, runs: Iterable[Run]) -> Iterator[str]:
    """Yield what differs among the runs of an arm that should not.

    Args:
        arm: The arm.
        runs: Its finished runs.
    """
    teachers: dict[str, set[str]] = {}
    for run in runs:
        for name, digest in run.trained.items():
            teachers.setdefault(name, set()).add(digest)
    for name, digests in teachers.items():
        if len(digests) > 1:
            yield f"{arm.name}: its seeds had {len(digests)} different checkpoints as {name}."


def versions_differ(runs: Iterable[Run]) -> Iterator[str]:
    """Yield that the runs were made by several versions of kdkit, if they were."""
    found = {run.version["kdkit"] for run in runs if "kdkit" in run.version}
    if len(found) > 1:
        yield f"the runs were made by several versions of kdkit: {', '.join(sorted(found))}."
