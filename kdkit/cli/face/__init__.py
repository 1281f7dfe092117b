"""Face recognition on one machine: enrol people, recognize them, calibrate the threshold.

    kdkit face demo                          everything on a gallery of its own
    kdkit face init
    kdkit face import FOLDER_OR_ZIP          one folder for each person
    kdkit face identify PICTURE
    kdkit face calibrate --far 0.001
    kdkit face reembed --student CONFIG CHECKPOINT
    kdkit face backup faces.zip
    kdkit face restore faces.zip
    kdkit face user add NAME --role admin
    kdkit face serve
    kdkit face align FOLDER CONFIG...        faces to train a student on
    kdkit face verify EMBEDDINGS             how well they distinguish people
    kdkit face people list | rename NAME NEW | merge NAME INTO | delete NAME
    kdkit face key add NAME --scope identify
    kdkit face audit show | verify | export audit.csv

--home names the folder of the installation (default: face_data, or the variable KD_FACE_HOME).
The variable KD_FACE_DATABASE is the URL of a database other than the SQLite file in that folder.
"""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.command import SETTINGS, Command
from kdkit.cli.face.audit import audit
from kdkit.cli.face.backups import back_up, restore
from kdkit.cli.face.calibration import calibrate
from kdkit.cli.face.demonstration import demo
from kdkit.cli.face.gallery import identify, import_, init, reembed
from kdkit.cli.face.keys import key
from kdkit.cli.face.people import people
from kdkit.cli.face.server import serve
from kdkit.cli.face.students import align, verify
from kdkit.cli.face.unknown import unknown
from kdkit.cli.face.users import user


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


for _one in (
    init,
    import_,
    identify,
    calibrate,
    reembed,
    back_up,
    restore,
    serve,
    demo,
    align,
    verify,
):
    command.add_command(_one)
for _group in (people, unknown, user, key, audit):
    command.add_command(_group)
