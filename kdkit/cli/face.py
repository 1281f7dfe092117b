"""Face recognition on one machine: enrol people, recognize them, calibrate the threshold.

    kdkit face init
    kdkit face import FOLDER_OR_ZIP          one folder for each person
    kdkit face identify PICTURE
    kdkit face calibrate --far 0.001
    kdkit face reembed --student CONFIG CHECKPOINT
    kdkit face backup faces.zip
    kdkit face restore faces.zip
    kdkit face user add NAME --role admin

--home names the folder of the installation (default: face_data, or the variable KD_FACE_HOME).
The variable KD_FACE_DATABASE is the URL of a database other than the SQLite file in that folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kd_core.packages import quick_imports, require_packages
from kdkit.cli.command import SETTINGS, Command, exclusive

if TYPE_CHECKING:
    from kd_face.home import Home
    from kd_face.pictures import Networks

_NEEDED = ("sqlalchemy", "alembic", "argon2", "faiss", "PIL")
_ACTOR = "command"


class _Group(click.Group):
    """Group whose help is written as it is."""

    format_help_text = Command.format_help_text


@click.group(cls=_Group, help=__doc__, context_settings=SETTINGS)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="KD_FACE_HOME",
    default="face_data",
    show_default=True,
    help="Folder of the installation.",
)
@click.pass_context
def command(ctx: click.Context, home: Path) -> None:
    """Face recognition."""
    ctx.obj = home


@command.command(name="init")
@click.pass_obj
def _init(folder: Path) -> None:
    """Make an installation, or upgrade the tables of one that is there."""
    with _errors():
        from kd_face import pictures
        from kd_face.home import init_home

        pictures.sweep(init_home(folder))
        click.echo(f"{folder}: ready. Next: kdkit face import FOLDER_OR_ZIP")


@command.command(name="import")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--quiet", is_flag=True, help="Report refused files alone.")
@click.pass_obj
def _import(folder: Path, source: Path, quiet: bool) -> None:
    """Add the pictures of a folder or ZIP; the folder that a picture is in names the person."""
    with _opened(folder) as (home, networks):
        from kd_face import pictures
        from kd_face.bulk_import import REFUSED, import_people

        pictures.sweep(home)  # of a run that was killed
        outcomes: dict[str, int] = {}
        for one in import_people(home, networks, source, _ACTOR):
            outcomes[one.outcome] = outcomes.get(one.outcome, 0) + 1
            if not quiet or one.outcome == REFUSED:
                reason = f": {one.reason}" if one.reason else ""
                click.echo(f"{one.outcome:8} {one.name!r}{reason}")
        click.echo(", ".join(f"{count:,} {what}" for what, count in outcomes.items()) or "no file")


@command.command(name="identify")
@click.argument("picture", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def _identify(folder: Path, picture: Path) -> None:
    """Say who is in a picture, and which stored picture is the nearest."""
    with _opened(folder) as (home, networks):
        from kd_face.index import GalleryIndex
        from kd_face.recognition import identify

        index = GalleryIndex(home)
        found = identify(home, index, networks, picture.read_bytes(), picture.name)
        index.save()
        if not found:
            click.echo("no face was found")
        for one in found:
            box = " ".join(f"{edge:.0f}" for edge in one.face.box)
            who = repr(one.person[1]) if one.person else "unknown"
            nearest = f"; nearest is {one.nearest[1]!r}" if one.nearest and not one.person else ""
            example = f", picture {one.picture_id}" if one.picture_id else ""
            click.echo(f"{who} at {box}: {one.reason}{nearest}{example}")


@command.command(name="calibrate")
@click.option(
    "--far",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.001,
    show_default=True,
    help="Share of pairs of two people that may pass.",
)
@click.option("--set", "use", is_flag=True, help="Use the threshold from now on.")
@click.pass_obj
def _calibrate(folder: Path, far: float, use: bool) -> None:
    """Measure the gallery: error rates with intervals, and the threshold for a wanted FAR."""
    with _opened(folder) as (home, networks):
        from kd_face import audit, spaces
        from kd_face.gallery_report import gallery_rows, report
        from kd_face.recognition import Rule, set_rule

        with home.read() as session:
            model = spaces.require_active(session, networks.embedder)
            rows, people, total = gallery_rows(session, model)
        found = report(rows, people, far)
        sampled = f" of {total:,}" if total > found.pictures else ""
        click.echo(f"{found.people:,} people, {found.pictures:,}{sampled} pictures")
        click.echo(f"threshold           {found.threshold:.4f}")
        for name, share in (
            ("FAR", found.far),
            ("FRR", found.frr),
            ("strangers accepted", found.accepted_strangers),
            ("rank-1", found.rank_1),
        ):
            low, high = share.interval
            click.echo(f"{name:18}  {share.value:.3%}  [{low:.3%}, {high:.3%}]  of {share.total:,}")
        low, high = found.eer_interval
        click.echo(f"EER                 {found.eer:.3%}  [{low:.3%}, {high:.3%}]")
        for warning in found.warnings:
            click.echo(f"note: {warning}")
        if use:
            with home.write() as session:
                set_rule(session, networks, Rule(found.threshold))
                audit.append(session, _ACTOR, "rule.set", {"threshold": found.threshold})
            click.echo("The threshold is in use.")


@command.command(name="reembed")
@click.option(
    "--student",
    nargs=2,
    type=click.Path(),
    metavar="CONFIG CHECKPOINT",
    help="Embed with a trained embedder (default: dlib's network).",
)
@click.option("--roll-back", is_flag=True, help="Use the network before this one again.")
@click.pass_obj
def _reembed(folder: Path, student: tuple[str, str] | None, roll_back: bool) -> None:
    """Embed all pictures by another network and use it; the same command resumes."""
    exclusive({"--student": student, "--roll-back": roll_back})
    with _errors(*([] if student or roll_back else ["dlib"])):
        from kd_face.home import open_home
        from kd_face.networks import switch, switch_back

        home = open_home(folder)
        if roll_back:
            switch_back(home, _ACTOR)
        else:
            resolved = student and (student[0], str(Path(student[1]).resolve()))
            for done, total in switch(home, resolved or None, _ACTOR):
                click.echo(f"{done:,} of {total:,} pictures")
        click.echo("The network is in use. Next: kdkit face calibrate")


@command.command(name="backup")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def _backup(folder: Path, out: Path) -> None:
    """Write database, pictures and checksums to one ZIP."""
    with _errors():
        from kd_face.backup import back_up
        from kd_face.home import open_home

        rows, blobs = back_up(open_home(folder), out)
        click.echo(f"{out}: {rows:,} rows, {blobs:,} pictures")


@command.command(name="restore")
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def _restore(folder: Path, source: Path) -> None:
    """Restore a backup into an installation that is new; it is checked first."""
    with _errors():
        from kd_face.backup import restore
        from kd_face.home import init_home

        rows, blobs = restore(init_home(folder), source, _ACTOR)
        click.echo(f"{folder}: {rows:,} rows, {blobs:,} pictures")


@command.group(name="user")
def _user() -> None:
    """Users of the application."""


@_user.command(name="add")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), required=True)
@click.password_option(
    help="Asked for where it is not given; the option shows in lists of processes."
)
@click.pass_obj
def _user_add(folder: Path, name: str, role: str, password: str) -> None:
    """Add a user; the first admin is made here, as there is no default account."""
    with _errors():
        from kd_face import users
        from kd_face.home import open_home

        with open_home(folder).write() as session:
            users.add(session, name, password, role, _ACTOR)
        click.echo(f"{name.lower()}: {role}")


@contextlib.contextmanager
def _errors(*needed: str) -> Iterator[None]:
    """End with one sentence where the application or the system refuses."""
    with quick_imports():
        require_packages("kdkit face", (*_NEEDED, *needed))
    try:
        yield
    except (ValueError, OSError) as error:
        if os.environ.get("KD_TRACEBACK"):
            raise
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[tuple[Home, Networks]]:
    with _errors("dlib"):
        from kd_face.home import open_home
        from kd_face.networks import networks_of

        home = open_home(folder)
        yield home, networks_of(home)
