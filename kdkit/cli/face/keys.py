"""Subcommands of API keys."""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.face.opening import ACTOR, errors


@click.group(name="key")
def key() -> None:
    """API keys of programs."""


@key.command(name="add")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="What it may do; repeat for several."
)
@click.pass_obj
def add(folder: Path, name: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print it; it cannot be shown again."""
    with errors():
        from kd_face import keys
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            made = keys.create(session, name, scopes, ACTOR)
        click.echo(made)


@key.command(name="list")
@click.pass_obj
def list_(folder: Path) -> None:
    """List keys by their prefixes, with scopes."""
    with errors():
        from sqlalchemy import select

        from kd_face import keys
        from kd_face.database.models import ApiKey
        from kd_face.home import open_home

        with open_home(folder).read() as session:
            for row in session.scalars(select(ApiKey).order_by(ApiKey.id)):
                state = f"revoked {row.revoked_at}" if row.revoked_at else "active"
                click.echo(f"{row.prefix}  {state}  {','.join(keys.scopes_of(row))}  {row.name}")


@key.command(name="revoke")
@click.argument("prefix")
@click.pass_obj
def revoke(folder: Path, prefix: str) -> None:
    """Revoke a key by its prefix, at once and for good."""
    with errors():
        from kd_face import keys
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            keys.revoke(session, prefix, ACTOR)
        click.echo(f"{prefix} is revoked")
