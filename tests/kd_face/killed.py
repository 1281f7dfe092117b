"""Work that the tests kill: each function runs in a process of its own and reports what is done."""

import os

from kd_face import backup, bulk_import, reembed
from kd_face.home import open_home

from .stand_ins import make_networks


def import_people(pipe, installation, source):
    """Send the name of every picture that is stored."""
    for one in bulk_import.import_people(_open(installation), make_networks(), source, "test"):
        pipe.send((one.name, one.outcome))
    pipe.send(None)


def reembed_gallery(pipe, installation, version):
    """Send how many pictures are embedded."""
    for done, _ in reembed.reembed(_open(installation), make_networks(version).embedder, "test"):
        pipe.send(done)
    pipe.send(None)


def back_up(pipe, installation, out):
    """Send a word before and after the backup."""
    home = _open(installation)
    pipe.send("begun")
    backup.back_up(home, out)
    pipe.send(None)


def _open(installation):
    """Open an installation of which the folder and the URL of the database are given."""
    folder, url = installation
    os.environ.pop("KD_FACE_DATABASE", None)
    if url:
        os.environ["KD_FACE_DATABASE"] = url
    return open_home(folder)
