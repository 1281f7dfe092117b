"""Subcommands of unknown faces."""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.face.opening import ACTOR, errors, opened


@click.group(name="unknown")
def unknown() -> None:
    """Faces that were not recognized and wait for a review."""


@unknown.command(name="list")
@click.pass_obj
def list_(folder: Path) -> None:
    """List the faces that wait, the newest first."""
    with errors():
        from kd_face import review
        from kd_face.home import open_home

        with open_home(folder).read() as session:
            found, total = review.waiting(session, 0, 2**31 - 1)
            for one in found:
                click.echo(f"{one.id:6}  seen {one.seen_at}, kept until {one.expires_at}")
            click.echo(f"{total:,} faces")


@unknown.command(name="assign")
@click.argument("face", type=int)
@click.argument("name")
@click.pass_obj
def assign(folder: Path, face: int, name: str) -> None:
    """Make a face a picture of a person, who is created where the name is new."""
    with opened(folder) as (home, networks):
        from kd_face import review

        review.assign(home, networks, face, name, ACTOR)
        click.echo(f"{face} is a picture of {name}")


@unknown.command(name="dismiss")
@click.argument("face", type=int)
@click.pass_obj
def dismiss(folder: Path, face: int) -> None:
    """Delete a face."""
    with errors():
        from kd_face import review
        from kd_face.home import open_home

        review.dismiss(open_home(folder), face, ACTOR)
        click.echo(f"{face} is deleted")


@unknown.command(name="days")
@click.argument("days", type=int)
@click.pass_obj
def days(folder: Path, days: int) -> None:
    """Set for how many days faces that come from now on are kept; 0, the default, keeps none."""
    with errors():
        from kd_face import unknown_faces
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            unknown_faces.set_days(session, days, ACTOR)
        click.echo(f"unknown faces are kept for {days} days")
