"""Measure what kdkit costs on this machine.

    kdkit benchmark distill
    kdkit benchmark recall

The benchmarks are the repository's folder benchmarks/, which is not installed; each says more with
--help.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from kdkit.cli.command import Command


@click.command(
    cls=Command,
    help=__doc__,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="BENCHMARK ...")
@click.pass_context
def command(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Forward to the benchmarks of a checkout."""
    if not arguments or arguments[0] in ("-h", "--help"):
        click.echo(context.get_help())
        context.exit(0 if arguments else 2)
    checkout = Path(__file__).parents[2]
    if not (checkout / "benchmarks" / "__main__.py").is_file():
        raise click.ClickException(
            "benchmarks come with kdkit's repository and are not installed. Clone it, and run the "
            "command in an environment where that checkout is installed: pip install --editable ."
        )
    sys.path.insert(0, str(checkout))
    importlib.import_module("benchmarks.__main__").main(arguments)
