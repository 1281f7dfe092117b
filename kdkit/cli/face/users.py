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


@user.command(name="list")
@click.pass_obj
def list_(folder: Path) -> None:
    """List users by name, with roles."""
    with errors():
        from kd_face import users
        from kd_face.home import open_home

        with open_home(folder).read() as session:
            for one in users.listed(session):
                click.echo(f"{one.name}: {one.role}{'' if one.is_active else ', disabled'}")


@user.command(name="disable")
@click.argument("name")
@click.pass_obj
def disable(folder: Path, name: str) -> None:
    """Disable a user, whose sessions end."""
    with errors():
        from kd_face import users
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            users.disable(session, name, ACTOR)
        click.echo(f"{name.lower()} is disabled")


@user.command(name="enable")
@click.argument("name")
@click.pass_obj
def enable(folder: Path, name: str) -> None:
    """Let a disabled user sign in again."""
    with errors():
        from kd_face import users
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            users.enable(session, name, ACTOR)
        click.echo(f"{name.lower()} is enabled")


@user.command(name="password")
@click.argument("name")
@click.password_option(
    help="Asked for where it is not given; the option shows in lists of processes."
)
@click.pass_obj
def password(folder: Path, name: str, password: str) -> None:
    """Set a user's password; all sessions of the user end."""
    with errors():
        from kd_face import users
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            users.set_password(session, name, password, ACTOR)
        click.echo(f"{name.lower()}: the password is set")
