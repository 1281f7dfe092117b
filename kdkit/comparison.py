"""Comparison of configs over seeds, as kdkit compare makes it, from a program or a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_engine.compare.comparison import Place, Plan
from kd_engine.compare.comparison import compare as compare_in
from kd_engine.compare.equal_time import MEASURED
from kd_engine.compare.jobs import gpus
from kd_engine.compare.report import Report
from kdkit.cli.command import PROGRAM


def compare(
    configs: str | Sequence[str],
    seeds: int | Sequence[int] = 5,
    *,
    options: Mapping[str, Any] | None = None,
    only_given: bool = False,
    equal_time: bool | float = False,
    cost: bool = False,
    with_teacher: bool = False,
    jobs: int | None = None,
    ray: str | None = None,
    work_dir: str | Path | None = None,
    results: str | Path | None = None,
    metrics: Sequence[str] = (),
    lower_is_better: bool | None = None,
) -> Report:
    """Train every config with every seed, unless that has been done, and report on it.

    Args:
        configs: Configs, as ``kdkit train`` takes them. Without a plain one among them the student
            alone of each distilled one is trained, too.
        seeds: How many, 5 stands for 0 to 4; or the seeds themselves.
        options: Changes of all configs, dotted keys and values.
        only_given: Whether no student alone is built.
        equal_time: Whether the student alone is also trained for as long as the distilled one
            takes: True for the time that is measured, or times its epochs.
        cost: Whether costs and the joint score of accuracy and compression are measured, too.
        with_teacher: Whether missing teachers are trained first.
        jobs: Trainings side by side; None for one for each GPU, or one.
        ray: Address of a Ray cluster that runs them instead.
        work_dir: Folder of the runs; None for ``work_dirs/compare/<first config>``.
        results: JSON file that is extended; None for ``results.json`` of that folder.
        metrics: Columns, the verdict is about the first; none for four that the runs share.
        lower_is_better: Direction of the first metric; None to read it off its name.

    Returns:
        The report: ``.verdict()``, ``.table()``, ``.markdown()``, ``.failures``. A notebook shows
        it as Markdown.

    Raises:
        ValueError: If the configs cannot be compared, or no run has finished.
        FileNotFoundError: If data or a teacher is missing.
        BlockingIOError: If another comparison runs in the work dir.
    """
    ratio = MEASURED if equal_time is True else float(equal_time)
    plan = Plan(
        configs=(configs,) if isinstance(configs, str) else tuple(configs),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds)),
        options=options or {},
        only_given=only_given,
        equal_time=None if equal_time is False else ratio,
        cost=cost,
        metrics=tuple(metrics),
        lower_is_better=lower_is_better,
    )
    if not (plan.configs and plan.seeds and min(plan.seeds) >= 0):
        raise ValueError(
            "a comparison needs one config and one seed from 0 on, or more, but it has configs "
            f"{list(plan.configs)} and seeds {list(plan.seeds)}."
        )
    folder = Path(work_dir) if work_dir else plan.folder
    file = Path(results) if results else folder / "results.json"
    place = Place(folder, file, PROGRAM, with_teacher, jobs or len(gpus()) or 1, ray)
    return compare_in(plan, place)
