"""Subcommands of users."""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.face.opening import ACTOR, errors


@click.group(name="user")
def user() -> None:
    """Users of the application."""


@user.command(name="add")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), required=True)
@click.password_option(
    help="Asked for where it is not given; the option shows in lists of processes."
)
@click.pass_obj
def user_add(folder: Path, name: str, role: str, password: str) -> None:
    """Add a user; the first admin is made here, as there is no default account."""
    with errors():
        from kd_face import users
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            users.add(session, name, password, role, ACTOR)
        click.echo(f"{name.lower()}: {role}")
