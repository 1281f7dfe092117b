"""Train several configs, one after another, and tabulate their scores.

    kdkit compare configs/cls/student.py configs/cls/kd.py configs/cls/hmat.py --with-teacher
    kdkit compare kdkit::det/student+bccd kdkit::det/hmat+bccd --seeds 0 1 2

Each run is one of kdkit train in a process of its own, with its usual work dir,
work_dirs/<folder>/<config>, and seed<N> in it for each seed. Runs that are finished are not
trained again, and one that has stopped resumes, so that the same command carries on after an
interrupt. The configs must be measured alike: the same data, the same evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kdkit.cli.command import PROGRAM, ConfigName, ManyOption, cfg_options, subcommand


@subcommand(__doc__, {"CONFIG...": "Configs to compare, as kdkit train takes them."})
@click.argument("configs", nargs=-1, required=True, type=ConfigName(), metavar="CONFIG...")
@click.option(
    "--seeds",
    cls=ManyOption,
    multiple=True,
    type=click.IntRange(0),
    metavar="N...",
    help="Train each config with each of these seeds (default: once, with its own).",
)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path),
    help="Folder of the runs (default: each has its usual one).",
)
@click.option("--with-teacher", is_flag=True, help="Train first what a config needs.")
@click.option(
    "--metrics",
    cls=ManyOption,
    multiple=True,
    metavar="NAME...",
    help="Columns (default: all metrics that the runs have in common).",
)
@cfg_options("Change settings of all configs.")
def command(
    configs: tuple[str, ...],
    seeds: tuple[int, ...],
    work_dir: Path | None,
    with_teacher: bool,
    metrics: tuple[str, ...],
    cfg_options: tuple[str, ...],
) -> None:
    """Compare."""
    from kd_engine.doctor.summary import table_of_runs
    from kd_engine.errors import clear_errors

    with clear_errors("interrupted; the same command carries on"):
        runs = _runs(configs, seeds, work_dir)
        todo = [(config, seed, folder) for config, own in runs for seed, folder in own.items()]
        for number, (config, seed, folder) in enumerate(todo, 1):
            print(f"{number} of {len(todo)}: {config}, in {folder}", flush=True)
            options = [f"randomness.seed={seed}"] if seed is not None else []
            _train(config, folder, with_teacher, [*cfg_options, *options])
        groups = [(config, list(own.values())) for config, own in runs]
        print(f"\n{table_of_runs(groups, metrics or None)}")


def _runs(
    configs: Sequence[str], seeds: Sequence[int], root: Path | None
) -> list[tuple[str, dict[int | None, Path]]]:
    """Return, for each config, its seeds and their work dirs.

    Raises:
        ValueError: If two configs would share a work dir.
    """
    from kd_engine.work_dir.default import default_work_dir

    found: dict[Path, str] = {}
    for config in configs:
        usual = default_work_dir(config)
        folder = usual if root is None else root / usual.relative_to("work_dirs")
        if folder in found:
            raise ValueError(
                f"each config must have a work dir of its own, but {found[folder]} and {config} "
                f"have {folder}. Name each config once."
            )
        found[folder] = config
    return [
        (config, {seed: folder / f"seed{seed}" for seed in seeds} or {None: folder})
        for folder, config in found.items()
    ]


def _train(config: str, folder: Path, with_teacher: bool, changes: Sequence[str]) -> None:
    """Train in a process of its own, which has said what was wrong if it fails."""
    from kd_engine.run.child import run_child

    options = ["--work-dir", str(folder), "--resume", *["--with-teacher"] * with_teacher]
    if changes:
        options += ["--cfg-options", *changes]
    if code := run_child([*PROGRAM, "train", config, *options]):
        raise SystemExit(code)
