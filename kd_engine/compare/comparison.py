"""Comparison of configs over seeds: it trains what is missing, and reports on all of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_core.checkpoint.atomic import write_whole
from kd_engine.compare.arms import TrainedArm, given_arms, with_students_alone
from kd_engine.compare.equal_time import with_equal_time
from kd_engine.compare.fairness import require_same_test
from kd_engine.compare.finished import finished_run
from kd_engine.compare.jobs import Job, OnEnd, last_lines, run_one_by_one, run_side_by_side
from kd_engine.compare.joint import joint_of, measure_costs, require_teacher
from kd_engine.compare.origin import Origin
from kd_engine.compare.plot import draw
from kd_engine.compare.ray_jobs import run_on_ray
from kd_engine.compare.report import Report
from kd_engine.compare.requirements import prepare
from kd_engine.compare.results import read_results, write_results
from kd_engine.terminal import short_terminal
from kd_engine.work_dir.default import default_work_dir
from kd_engine.work_dir.lock import hold_work_dir


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        configs: Names of configs.
        seeds: Seeds that each is trained with.
        options: Changes of all configs, dotted keys and values.
        only_given: Whether no student alone is built from distilled configs.
        equal_time: Times as long that the student alone is trained besides; MEASURED for the
            distilled run's time, None for no such arm.
        cost: Whether costs and the joint score are measured.
        metrics: Metrics to show, the verdict is about the first; none for four.
        lower_is_better: Direction of the first metric; None to read it off its name.
    """

    configs: tuple[str, ...]
    seeds: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    only_given: bool = False
    equal_time: float | None = None
    cost: bool = False
    metrics: tuple[str, ...] = ()
    lower_is_better: bool | None = None

    @property
    def folder(self) -> Path:
        """The usual folder of the comparison: that of its first config."""
        own = default_work_dir(self.configs[0]).relative_to("work_dirs")
        return Path("work_dirs", "compare", own)


@dataclass(frozen=True)
class Place:
    """Where a comparison runs.

    Attributes:
        work_dir: Folder of the runs.
        results: The results file; table and plot have the same name with another suffix.
        program: Arguments of Python that run ``kdkit``.
        with_teacher: Whether missing teachers are trained first.
        jobs: Trainings at a time.
        ray: Address of a Ray cluster that runs them instead.
    """

    work_dir: Path
    results: Path
    program: tuple[str, ...]
    with_teacher: bool = False
    jobs: int = 1
    ray: str | None = None


def compare(plan: Plan, place: Place) -> Report:
    """Train every config with every seed, unless that has been done, and report on it.

    A run is finished if its fingerprint and seed are in the results file. One that stopped
    resumes. One that fails is named, and the others go on.

    Args:
        plan: What is compared.
        place: Where.

    Returns:
        The report; results file and table are written.

    Raises:
        ValueError: If the configs cannot be compared, or no run has finished.
        FileNotFoundError: If a teacher is missing.
        BlockingIOError: If another comparison runs in the work dir.
    """
    with hold_work_dir(place.work_dir) as lock:
        lock.sign(plan.configs[0])
        work = _Work(plan, place)
        work.train(work.arms)
        if plan.equal_time is not None:
            work.train_longer(plan.equal_time)
        if plan.cost:
            work.measure()
        return work.report()


class _Work:
    """The comparison that runs in a folder."""

    def __init__(self, plan: Plan, place: Place) -> None:
        self.plan, self.place = plan, place
        results = read_results(place.results)
        given = given_arms(plan.configs, plan.options)
        self.arms = given if plan.only_given else with_students_alone(given, results.arms)
        self.results = results.with_arms(one.arm for one in self.arms)
        self.failures: list[str] = []
        self.notes: list[str] = []
        require_same_test(self.results.arms)
        if plan.cost:  # before anything slow
            require_teacher(self.arms)

    def train(self, arms: Sequence[TrainedArm]) -> None:
        """Train what is missing of some arms."""
        due = {one.arm.name: self._due(one) for one in arms}
        prepared: dict[str, Mapping[str, str]] = {}
        for one in arms:
            if due[one.arm.name]:
                first = not prepared
                made = prepare(one, self.place.work_dir, self._train_program, check=first)
                prepared[one.arm.name] = made.trained
                self._warn(one, made.warnings)
        self._save()
        pairs = [  # seed by seed: whoever stops early has pairs to compare
            (one, seed) for seed in self.plan.seeds for one in arms if seed in due[one.arm.name]
        ]
        found = {self._job(one, seed): (one, seed) for one, seed in pairs}

        def on_end(job: Job, code: int, origin: Origin) -> None:
            one, seed = found[job]
            self._note(job, code, origin, one, seed, prepared[one.arm.name])

        self._run(list(found), on_end)

    def train_longer(self, ratio: float) -> None:
        """Train the students alone that have the time of the distilled ones."""
        arms, problems = with_equal_time(self.arms, self.results, ratio)
        self.arms = list({one.arm.name: one for one in (*self.arms, *arms)}.values())
        self.results = self.results.with_arms(one.arm for one in arms)
        self.train([one for one in arms if one.arm.kind == "longer"])
        self.notes += problems

    def measure(self) -> None:
        """Measure what the arms and their teacher cost."""
        with short_terminal("measuring costs"):
            costs = measure_costs(self.arms, self.results, self.place.work_dir)
        self.results = dataclasses.replace(self.results, costs=costs)

    def report(self) -> Report:
        """Write the report and return it."""
        self._save()
        report = _with_joint(
            Report(self.results, self.plan.metrics, self.plan.lower_is_better, self.failures)
        )
        for note in self.notes:
            print(f"note: {note}")
        report.files = write_report(report, self.place.results)
        return report

    @property
    def _train_program(self) -> tuple[str, ...] | None:
        return (*self.place.program, "train") if self.place.with_teacher else None

    def _due(self, one: TrainedArm) -> list[int]:
        done = self.results.runs_of(one.arm)
        return [seed for seed in self.plan.seeds if seed not in done]

    def _run(self, jobs: Sequence[Job], on_end: OnEnd) -> None:
        if self.place.ray is not None:
            run_on_ray(jobs, self.place.ray, on_end)
        elif self.place.jobs > 1:
            run_side_by_side(jobs, self.place.jobs, on_end)
        else:
            run_one_by_one(jobs, on_end)

    def _job(self, one: TrainedArm, seed: int) -> Job:
        folder = self._run_folder(one, seed)
        config = one.folder(self.place.work_dir) / "config.py"
        write_whole(config, one.config.pretty_text.encode())
        arguments = (
            *self.place.program, "train", str(config), "--work-dir", str(folder), "--resume",
            "--cfg-options", f"randomness.seed={seed}",
        )  # fmt: skip
        title = f"{one.arm.name}, seed {seed}, in {folder}"
        return Job(title, arguments, folder / "train.log")

    def _run_folder(self, one: TrainedArm, seed: int) -> Path:
        return one.folder(self.place.work_dir) / f"seed{seed}"

    def _note(
        self,
        job: Job,
        code: int,
        origin: Origin,
        one: TrainedArm,
        seed: int,
        trained: Mapping[str, str],
    ) -> None:
        """Add a run that has ended to the results, or to the failures."""
        name = f"{one.arm.name}, seed {seed}"
        folder = self._run_folder(one, seed)
        if code == 0:
            try:
                run = finished_run(one.arm, seed, folder, origin, trained)
            except ValueError as error:
                self._fail(f"{name}: {error}")
                return
            self.results = self.results.with_runs([run])
            self._save()
            scores = ", ".join(f"{metric} {value:.4g}" for metric, value in run.metrics.items())
            print(f"finished: {name}: {scores}", flush=True)
            return
        said = last_lines(job.log)
        self._fail(f"{name} ended with exit code {code}{': ' if said else ''}{said}")

    def _fail(self, text: str) -> None:
        self.failures.append(text)
        print(f"failed: {text}", flush=True)

    def _warn(self, one: TrainedArm, warnings: Iterable[str]) -> None:
        """Add warnings to an arm of the results."""
        every = (*one.arm.warnings, *warnings)
        self.results = self.results.with_arms([dataclasses.replace(one.arm, warnings=every)])

    def _save(self) -> None:
        """Write the results, with what another comparison has added to the file meanwhile."""
        found = read_results(self.place.results)
        new = [arm for arm in found.arms if self.results.arm(arm.name) is None]
        self.results = self.results.with_runs(found.runs).with_arms(new)
        write_results(self.place.results, self.results, {})


def report_of(path: Path, metrics: Sequence[str], lower_is_better: bool | None) -> Report:
    """Report on a results file alone.

    Args:
        path: The file.
        metrics: As for :class:`Plan`.
        lower_is_better: As for :class:`Plan`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another file, or holds no finished run of an arm.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no results file {path}. Correct the path.")
    return _with_joint(Report(read_results(path), metrics, lower_is_better))


def _with_joint(report: Report) -> Report:
    report.joint = joint_of(report)
    return report


def write_report(report: Report, path: Path) -> tuple[Path, ...]:
    """Write a report: results as JSON, table and verdict as Markdown, and a plot.

    Args:
        report: The report.
        path: The JSON file; the others have the same name with another suffix.

    Returns:
        The files.
    """
    markdown, plot = path.with_suffix(".md"), path.with_suffix(".png")
    draw(report, plot)
    write_whole(markdown, f"{report.markdown()}\n".encode())
    write_results(path, report.results, report.conclusions())
    return path, markdown, plot
