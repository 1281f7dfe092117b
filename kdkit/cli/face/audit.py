"""Subcommands of the audit log."""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.face.opening import errors


@click.group(name="audit")
def audit() -> None:
    """Audit log: who did what, in a chain of hashes."""


@audit.command(name="show")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@click.pass_obj
def show(folder: Path, last: int) -> None:
    """Show the newest entries, the oldest of them first."""
    with errors():
        from sqlalchemy import select

        from kd_face.database.models import AuditEntry
        from kd_face.home import open_home

        with open_home(folder).read() as session:
            newest = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(last)
            for one in reversed(session.scalars(newest).all()):
                click.echo(f"{one.id:6}  {one.at}  {one.actor}  {one.action}  {one.details}")


@audit.command(name="verify")
@click.pass_obj
def verify(folder: Path) -> None:
    """Verify the chain, and print the number of entries and the newest hash."""
    with errors():
        from kd_face import audit
        from kd_face.home import open_home

        with open_home(folder).read() as session:
            count, head = audit.verify(session)
        click.echo(f"{count:,} entries fit; keep this elsewhere: {head}")


@audit.command(name="export")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def export(folder: Path, out: Path) -> None:
    """Write all entries to a CSV file in which no cell is a formula."""
    with errors():
        from kd_face.audit_export import csv_lines
        from kd_face.home import open_home
        from kd_face.private_files import private_file

        home = open_home(folder)
        with private_file(out) as file:
            for line in csv_lines(home):
                file.write(line.encode())
        click.echo(f"{out}: written")
