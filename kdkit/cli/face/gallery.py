"""Subcommands of the gallery: make it, import into it, recognize, embed it anew."""

from __future__ import annotations

from pathlib import Path

import click

from kd_core.packages import require_packages
from kdkit.cli.command import exclusive
from kdkit.cli.face.opening import ACTOR, errors, opened


@click.command(name="init")
@click.pass_obj
def init(folder: Path) -> None:
    """Make an installation, or upgrade the tables of one that is there."""
    with errors():
        from kd_face import pictures
        from kd_face.home import init_home

        pictures.sweep(init_home(folder))
        click.echo(f"{folder}: ready. Next: kdkit face import FOLDER_OR_ZIP")


@click.command(name="import")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--quiet", is_flag=True, help="Report refused files alone.")
@click.pass_obj
def import_(folder: Path, source: Path, quiet: bool) -> None:
    """Add the pictures of a folder or ZIP; the folder that a picture is in names the person."""
    with opened(folder) as (home, networks):
        from kd_face import pictures
        from kd_face.bulk_import import REFUSED, import_people

        pictures.sweep(home)  # of a run that was killed
        outcomes: dict[str, int] = {}
        for one in import_people(home, networks, source, ACTOR):
            outcomes[one.outcome] = outcomes.get(one.outcome, 0) + 1
            if not quiet or one.outcome == REFUSED:
                reason = f": {one.reason}" if one.reason else ""
                click.echo(f"{one.outcome:8} {one.name!r}{reason}")
        click.echo(", ".join(f"{count:,} {what}" for what, count in outcomes.items()) or "no file")


@click.command(name="identify")
@click.argument("picture", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def identify(folder: Path, picture: Path) -> None:
    """Say who is in a picture, and which stored picture is the nearest."""
    with opened(folder) as (home, networks):
        from kd_face.images import read_file
        from kd_face.index import GalleryIndex
        from kd_face.recognition import identify

        index = GalleryIndex(home)
        found = identify(home, index, networks, read_file(picture, networks.limits), picture.name)
        index.save()
        if not found:
            click.echo("no face was found")
        for one in found:
            box = " ".join(f"{edge:.0f}" for edge in one.face.box)
            who = repr(one.person[1]) if one.person else "unknown"
            nearest = f"; nearest is {one.nearest[1]!r}" if one.nearest and not one.person else ""
            example = f", picture {one.picture_id}" if one.picture_id else ""
            click.echo(f"{who} at {box}: {one.reason}{nearest}{example}")


@click.command(name="reembed")
@click.option(
    "--student",
    nargs=2,
    type=click.Path(),
    metavar="CONFIG CHECKPOINT",
    help="Embed with a trained embedder (default: dlib's network).",
)
@click.option("--roll-back", is_flag=True, help="Use the network before this one again.")
@click.pass_obj
def reembed(folder: Path, student: tuple[str, str] | None, roll_back: bool) -> None:
    """Embed all pictures by another network and use it; the same command resumes."""
    exclusive({"--student": student, "--roll-back": roll_back})
    with errors():
        from kd_face.home import open_home
        from kd_face.networks import switch, switch_back

        home = open_home(folder)
        if not student and not roll_back:
            require_packages("kdkit face", ["dlib"])
        if roll_back:
            switch_back(home, ACTOR)
        else:
            resolved = student and (student[0], str(Path(student[1]).resolve()))
            for done, total in switch(home, resolved or None, ACTOR):
                click.echo(f"{done:,} of {total:,} pictures")
        click.echo("The network is in use. Next: kdkit face calibrate")
