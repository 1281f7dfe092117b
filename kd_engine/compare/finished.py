"""Finished run of a comparison: its scores and training time, read from its folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from kd_engine.compare.origin import Origin
from kd_engine.compare.results import Arm, Run
from kd_engine.doctor.scores import log_entries
from kd_engine.doctor.summary import last_metrics


def finished_run(
    arm: Arm, seed: int, folder: Path, origin: Origin, trained: Mapping[str, str]
) -> Run:
    """Read a finished run.

    Args:
        arm: Its arm.
        seed: Its seed.
        folder: Its work dir.
        origin: Where it ran.
        trained: Name of each model that it was given to the digest of its checkpoint.

    Raises:
        ValueError: If it has no validation in its logs.
    """
    metrics, notes = last_metrics(folder)
    return Run(
        config=arm.config,
        fingerprint=arm.fingerprint,
        seed=seed,
        metrics=metrics,
        seconds=training_seconds(folder),
        version=origin.version,
        machine=origin.machine,
        finished=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        trained=dict(trained),
        notes=tuple(notes),
    )


def training_seconds(folder: Path) -> float | None:
    """Return the time of a run's training iterations, resumed or not; None if it is not logged.

    Start, validation and checkpoints are not in it. What a killed run had to repeat counts once.

    Args:
        folder: Its work dir.
    """
    found = {
        entry["iter"]: float(entry["time"])
        for entry in log_entries(folder, [])
        if "loss" in entry and {"iter", "time"} <= set(entry)
    }
    total, before = 0.0, 0
    for iteration in sorted(found):
        total += found[iteration] * (iteration - before)
        before = iteration
    return round(total, 3) if found else None
