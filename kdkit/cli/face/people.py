"""Subcommands of people."""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.face.opening import ACTOR, errors


@click.group(name="people")
def people() -> None:
    """People of the gallery."""


@people.command(name="list")
@click.option("--find", default="", metavar="TEXT", help="Those whose name contains a text.")
@click.pass_obj
def list_(folder: Path, find: str) -> None:
    """List people by name, with the number of their pictures."""
    with errors():
        from kd_face import people
        from kd_face.home import open_home

        with open_home(folder).read() as session:
            found, total = people.search(session, find, 0, 2**31 - 1)
            for person, count in found:
                click.echo(f"{count:6,}  {person.name}")
            click.echo(f"{total:,} people")


@people.command(name="rename")
@click.argument("name")
@click.argument("new")
@click.pass_obj
def rename(folder: Path, name: str, new: str) -> None:
    """Rename a person."""
    with errors():
        from kd_face import people
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            people.rename(session, people.require_name(session, name).id, new, ACTOR)
        click.echo(f"{name} is {people.clean_name(new)} now")


@people.command(name="merge")
@click.argument("name")
@click.argument("into")
@click.pass_obj
def merge(folder: Path, name: str, into: str) -> None:
    """Give all pictures of a person to another one, and delete the first."""
    with errors():
        from kd_face import people
        from kd_face.home import open_home

        home = open_home(folder)
        with home.read() as session:
            first, second = (people.require_name(session, one).id for one in (name, into))
        people.merge(home, first, second, ACTOR)
        click.echo(f"{name} belongs to {into} now")


@people.command(name="delete")
@click.argument("name")
@click.confirmation_option(prompt="Delete the person with all pictures and embeddings?")
@click.pass_obj
def delete(folder: Path, name: str) -> None:
    """Delete a person with all pictures and embeddings; backups keep them until they expire."""
    with errors():
        from kd_face import erasure, people
        from kd_face.home import open_home

        home = open_home(folder)
        with home.read() as session:
            person = people.require_name(session, name).id
        gone = erasure.erase(home, person, ACTOR)
        waited = f" and {gone.unknown_faces:,} unknown faces" if gone.unknown_faces else ""
        click.echo(f"{name} is deleted, with {gone.pictures:,} pictures{waited}")
