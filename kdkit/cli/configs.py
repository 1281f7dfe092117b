"""List the built-in configs, or copy one.

    kdkit configs
    kdkit configs cifar100
    kdkit configs --copy kdkit::hmat_faster_rcnn.py
    kdkit configs --copy kdkit::cls/kd+cifar100 --to my_configs

Every command takes the names as they are listed, from any folder. A copy is a file to change: it
inherits what the built-in config inherits, and replaces no file that is there.
"""

from __future__ import annotations

import click

from kdkit.cli.command import ConfigName, subcommand


@subcommand(__doc__, {"WORD": "List only those that have it in their name or description."})
@click.argument("word", required=False)
@click.option("--copy", type=ConfigName(), metavar="NAME", help="Copy this config.")
@click.option(
    "--to",
    type=click.Path(file_okay=False),
    default=".",
    metavar="FOLDER",
    help="Folder of the copy (default: the current one).",
)
def command(word: str | None, copy: str | None, to: str) -> None:
    """List or copy."""
    from kd_core.table import format_table
    from kd_engine.config.builtin import copy_config, list_configs
    from kd_engine.errors import clear_errors

    with clear_errors():
        if copy:
            print(copy_config(copy, to))
            return
        found = list_configs(word)
        if not found:
            raise ValueError(f"no built-in config has {word!r} in its name or description.")
        for line in format_table((), [(one.name, one.summary) for one in found]):
            print(line)
