"""Subcommands ``backup`` and ``restore``."""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.face.opening import ACTOR, errors


@click.command(name="backup")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def back_up(folder: Path, out: Path) -> None:
    """Write database, pictures and checksums to one ZIP."""
    with errors():
        from kd_face.backup import back_up
        from kd_face.home import open_home

        rows, blobs = back_up(open_home(folder), out)
        click.echo(f"{out}: {rows:,} rows, {blobs:,} pictures")


@click.command(name="restore")
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def restore(folder: Path, source: Path) -> None:
    """Restore a backup into an installation that is new; it is checked first."""
    with errors():
        from kd_face.backup import restore
        from kd_face.home import init_home

        rows, blobs = restore(init_home(folder), source, ACTOR)
        click.echo(f"{folder}: {rows:,} rows, {blobs:,} pictures")
