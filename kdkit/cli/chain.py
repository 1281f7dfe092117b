"""Train a chain: teacher, assistants and student; generations; or early teachers first.

    kdkit chain kdkit::cls/takd+digits --with-teacher
    kdkit chain kdkit::cls/born_again+digits --with-teacher --seed 1

The config is that of the direct way, from the teacher to the student; its chain=dict(way=...) says
what comes between: assistants (TAKD), dense (DGKD: each learns from all before it), born_again
(generations of one network) or route (RCO: checkpoints of the teacher's own training). Links that
are finished are not trained again, and one that has stopped resumes, so the same command carries
on after an interrupt. Ends with a table of all links and the direct way, also in chain.md.
"""

from __future__ import annotations

from pathlib import Path

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import CONFIG, PROGRAM, config_argument, subcommand


@subcommand(__doc__, CONFIG)
@config_argument
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the links (default: work_dirs/chain/<config>).",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of all links (default: the config's).")
@click.option("--with-teacher", is_flag=True, help="Train the teacher first if it is missing.")
def command(
    config: str,
    cfg_options: tuple[str, ...],
    work_dir: Path | None,
    seed: int | None,
    with_teacher: bool,
) -> None:
    """Run a chain."""
    with quick_imports():
        from kd_engine.chain.run import run_chain
        from kd_engine.config.load import load_run_config, parse_options
        from kd_engine.config.parts import require_training
        from kd_engine.errors import clear_errors
        from kd_engine.work_dir.default import default_work_dir

    with clear_errors("interrupted; the same command carries on"):
        read = load_run_config(config, parse_options(cfg_options))
        require_training(read)
        own = default_work_dir(config).relative_to("work_dirs")
        root = work_dir or Path("work_dirs", "chain", own)
        print(f"\n{run_chain(read, root, PROGRAM, seed, with_teacher)}")
