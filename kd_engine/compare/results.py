"""Results of a comparison as a JSON file: its arms, and every finished run with its origin.

The file stands for the runs: one whose fingerprint and seed are in it is not trained again, even
where its work dir is gone or another machine has trained it. So measured figures can be kept and
extended later with more arms or seeds.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kd_core.checkpoint.atomic import write_whole

_FORMAT = "kdkit compare 1"

SCORED = "scored images"
SAME = ("student", "training images", "transforms", "optimizer", "schedule", SCORED)

Kind = Literal["plain", "distilled", "longer"]


@dataclass(frozen=True)
class Arm:
    """One row of a comparison: a config that is trained with every seed.

    Attributes:
        name: Its name in tables.
        config: The config that it is made from.
        fingerprint: Digest of all settings that decide its result, but for the seed.
        kind: "plain", "distilled", or "longer" for a plain one that has a distilled one's time.
        length: Planned length, such as "8 epochs".
        batch_size: Images of a training batch.
        baseline: Name of the arm without distillation, if there is one.
        longer: Name of the arm without distillation that has this one's time, if there is one.
        factor: Times that a "longer" arm's training is as long.
        derived: Whether it was made from a distilled arm's config, and not given.
        digests: Digest of what arms should have in common, by its name: see :data:`SAME`.
        scored_on_test: Whether ``test_dataloader`` reads that data, too.
        warnings: Reasons why its score may be too good, a sentence each.
    """

    name: str
    config: str
    fingerprint: str
    kind: Kind = "plain"
    length: str = ""
    batch_size: int | None = None
    baseline: str | None = None
    longer: str | None = None
    factor: float | None = None
    derived: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)
    scored_on_test: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        config: The config's name.
        fingerprint: That of its arm.
        seed: Its seed.
        metrics: Metric to value, of the last epoch; NaN is written as null.
        seconds: Time of its training iterations; None if its log does not say.
        version: Packages, and the commit of kdkit where it is a checkout.
        machine: System and devices.
        finished: Time at which it was noted, UTC.
        trained: Name of each model that it was given to the digest of its checkpoint.
        notes: Peculiarities of the run, a sentence each.
    """

    config: str
    fingerprint: str
    seed: int
    metrics: Mapping[str, float]
    seconds: float | None = None
    version: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    finished: str = ""
    trained: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """Content of a results file.

    Attributes:
        arms: Arms, in the order of the table.
        runs: Finished runs, of these arms and of others.
        costs: Costs of the arms and their teacher; see :mod:`kd_engine.compare.joint`.
    """

    arms: tuple[Arm, ...] = ()
    runs: tuple[Run, ...] = ()
    costs: Mapping[str, Any] | None = None

    def runs_of(self, arm: Arm) -> dict[int, Run]:
        """Return seed to finished run of an arm."""
        found = {run.seed: run for run in self.runs if run.fingerprint == arm.fingerprint}
        return dict(sorted(found.items()))

    def arm(self, name: str | None) -> Arm | None:
        """Return the arm of a name, if there is one."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def with_runs(self, runs: Iterable[Run]) -> Results:
        """Return the results with more runs; one that is there already stays as it is."""
        known = {(run.fingerprint, run.seed): run for run in self.runs}
        new = [run for run in runs if (run.fingerprint, run.seed) not in known]
        return dataclasses.replace(self, runs=(*self.runs, *new))

    def with_arms(self, arms: Iterable[Arm]) -> Results:
        """Return the results with more arms: plain ones first, then longer, then distilled ones.

        An arm takes the place of one of the same name; if it has the same fingerprint, it keeps
        that one's warnings and the arms that it is compared with. A derived arm that no other one
        names any more goes.
        """
        found = {arm.name: arm for arm in self.arms}
        for arm in arms:
            before = found.get(arm.name)
            if before is not None and before.fingerprint == arm.fingerprint:
                every = tuple(dict.fromkeys((*before.warnings, *arm.warnings)))
                arm = dataclasses.replace(
                    arm,
                    warnings=every,
                    baseline=arm.baseline or before.baseline,
                    longer=arm.longer or before.longer,
                )
            found[arm.name] = arm
        named = {name for arm in found.values() for name in (arm.baseline, arm.longer)}
        kept = [arm for arm in found.values() if not arm.derived or arm.name in named]
        order: tuple[Kind, ...] = ("plain", "longer", "distilled")
        kept.sort(key=lambda arm: order.index(arm.kind))
        return dataclasses.replace(self, arms=tuple(kept))


def read_results(path: Path) -> Results:
    """Read a results file.

    Args:
        path: The file.

    Returns:
        Its content; empty results if there is no file.

    Raises:
        ValueError: If it is another file, or damaged.
    """
    if not path.exists():
        return Results()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        return Results(
            arms=tuple(
                Arm(**{**arm, "warnings": tuple(arm.get("warnings", ()))})
                for arm in content["arms"]
            ),
            runs=tuple(_run(run) for run in content["runs"]),
            costs=content.get("costs"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must be results of kdkit compare, but it cannot be read as such: {error}. "
            "Name another file; this one stays as it is."
        ) from error


def write_results(path: Path, results: Results, conclusions: Mapping[str, Any]) -> None:
    """Write a results file, whole or not at all.

    Args:
        path: The file.
        results: What it holds.
        conclusions: Computed from the runs for other readers; not read again.
    """
    content = {
        "format": _FORMAT,
        "arms": [dataclasses.asdict(arm) for arm in results.arms],
        **conclusions,
        "costs": results.costs,
        "runs": [dataclasses.asdict(run) for run in results.runs],
    }
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    write_whole(path, f"{text}\n".encode())


def _run(content: Mapping[str, Any]) -> Run:
    metrics = {
        str(name): math.nan if value is None else float(value)
        for name, value in content["metrics"].items()
    }
    notes = tuple(content.get("notes", ()))
    return Run(**{**content, "metrics": metrics, "seed": int(content["seed"]), "notes": notes})


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not know by None."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
