"""Compare configs over several seeds: train each with every seed, then say whether it helps.

    kdkit compare kdkit::cls/kd+digits --seeds 5 --with-teacher
    kdkit compare kdkit::cls/kd+digits --seeds 5 --equal-time --jobs 2
    kdkit compare kdkit::det/student+bccd kdkit::det/hmat+bccd --seed-list 0 1 2
    kdkit compare --from work_dirs/compare/cls/kd+digits/results.json

Without a plain config, the student alone of each distilled one is trained, too. Each run is one
of kdkit train in a process of its own. Runs that are finished are not trained again, and one that
has stopped resumes, so the same command carries on after an interrupt, and takes up further
configs and seeds. Ends with a table of paired differences and a verdict in words; they and all
scores are in results.json, .md and .png of the work dir, work_dirs/compare/<first config>.
"""

from __future__ import annotations

import math
from pathlib import Path

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import ConfigName, ManyOption, cfg_options, exclusive, subcommand


@subcommand(__doc__, {"CONFIG...": "Configs to compare, as kdkit train takes them."})
@click.argument("configs", nargs=-1, type=ConfigName(), metavar="CONFIG...")
@click.option(
    "--seeds",
    type=int,
    metavar="N",
    help="How many seeds: 5 stands for 0, 1, 2, 3, 4 (default: 1, which proves nothing).",
)
@click.option(
    "--seed-list",
    cls=ManyOption,
    multiple=True,
    type=click.IntRange(0),
    metavar="SEED...",
    help="The seeds themselves, instead.",
)
@click.option(
    "--equal-time",
    is_flag=False,
    flag_value="measured",
    metavar="[RATIO]",
    callback=lambda context, option, value: _ratio(value),
    help="Also train the student alone for as long as the distilled one takes: RATIO times its "
    "epochs (default: as measured in these runs).",
)
@click.option(
    "--cost",
    is_flag=True,
    help="Also measure the teacher's score, what all models cost, and the joint score.",
)
@click.option("--with-teacher", is_flag=True, help="Train first what a config needs.")
@click.option("--only-given", is_flag=True, help="Build no student alone of distilled configs.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Trainings side by side, with logs in files (default: one for each GPU).",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Run the trainings on this Ray cluster: auto, ray://HOST:10001, or local.",
)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the runs (default: work_dirs/compare/<first config>).",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Results file, extended if it is there (default: results.json of the work dir).",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Train nothing: print table and verdict of a results file again.",
)
@click.option(
    "--metrics",
    cls=ManyOption,
    multiple=True,
    metavar="NAME...",
    help="Columns; the verdict is about the first (default: four that the runs share).",
)
@click.option(
    "--lower-is-better/--higher-is-better",
    default=None,
    help="Direction of the first metric (default: by its name; loss, error and the like: lower).",
)
@cfg_options("Change settings of all configs.")
def command(
    configs: tuple[str, ...],
    seeds: int | None,
    seed_list: tuple[int, ...],
    equal_time: bool | float,
    cost: bool,
    with_teacher: bool,
    only_given: bool,
    jobs: int | None,
    ray: str | None,
    work_dir: Path | None,
    results: Path | None,
    source: Path | None,
    metrics: tuple[str, ...],
    lower_is_better: bool | None,
    cfg_options: tuple[str, ...],
) -> None:
    """Compare."""
    exclusive({"--seeds": seeds, "--seed-list": seed_list})
    exclusive({"--jobs": jobs, "--ray": ray})
    if numbers := [name for name in configs if name.isdecimal()]:
        raise click.UsageError(
            "--seeds takes one number, how many seeds. For seeds themselves: --seed-list "
            f"{' '.join([*([] if seeds is None else [str(seeds)]), *numbers])}"
        )
    if seeds is not None and seeds < 1:
        raise click.UsageError(
            f"--seeds must be how many seeds, at least 1, but it is {seeds}. For seeds themselves: "
            f"--seed-list {seeds}"
        )
    if bool(configs) == bool(source):
        raise click.UsageError("give configs to compare, or --from FILE.json, and not both")

    with quick_imports():
        from kd_engine.compare.comparison import report_of
        from kd_engine.config.load import parse_options
        from kd_engine.errors import clear_errors
        from kdkit.comparison import compare

    with clear_errors("interrupted; the same command carries on"):
        if source:
            print(f"\n{report_of(source, metrics, lower_is_better).markdown()}")
            return
        report = compare(
            configs,
            seed_list or seeds or 1,
            options=parse_options(cfg_options),
            only_given=only_given,
            equal_time=equal_time,
            cost=cost,
            with_teacher=with_teacher,
            jobs=jobs,
            ray=ray,
            work_dir=work_dir,
            results=results,
            metrics=metrics,
            lower_is_better=lower_is_better,
        )
        print(f"\n{report.markdown()}\n\n{', '.join(map(str, report.files))}")
        if report.failures:
            raise SystemExit(1)


def _ratio(value: str | None) -> bool | float:
    """Return whether there is an arm of equal time, or times how many epochs."""
    if value in (None, "measured"):
        return value is not None
    try:
        ratio = float(value or "")
    except ValueError:
        ratio = math.nan
    if not 0 < ratio < math.inf:
        raise click.BadParameter(f"it must be a number above 0, or left out, but it is {value!r}")
    return ratio
