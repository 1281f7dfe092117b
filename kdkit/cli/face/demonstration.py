"""Subcommand that shows the application on a gallery of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from kdkit.cli.face.opening import errors
from kdkit.cli.face.server import NEEDED

_ACTOR = "demo"
_ADMIN = "admin"


@click.command(name="demo")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--drawn", is_flag=True, help="Drawn faces also where KD_DATA holds orl_faces.")
@click.pass_context
def demo(ctx: click.Context, port: int, drawn: bool) -> None:
    """Show everything on a gallery of its own, which is deleted at the end unless --home is given.

    Faces are those of ORL where KD_DATA holds orl_faces, otherwise of people who do not exist.
    """
    _require_free(port)
    with _folder(ctx) as folder, errors("dlib", *NEEDED):
        from kd_face.demo import gallery
        from kd_face.home import init_home
        from kd_face.networks import networks_of
        from kd_face.web.listen import Listen
        from kd_face.web.options import WebOptions
        from kd_face.web.serve import serve

        orl = Path(os.environ.get("KD_DATA", "data"), gallery.ORL)
        is_drawn = drawn or not orl.is_dir()
        home = init_home(folder)
        gallery.require_empty(home)
        networks = networks_of(home)
        what = "people who do not exist" if is_drawn else "ORL's database of faces"
        click.echo(f"Gallery of {what}; this takes some seconds.")
        examples = gallery.drawn_gallery() if is_drawn else gallery.orl_gallery(orl)
        for line in gallery.fill(home, networks, examples, _ACTOR):
            click.echo(line)
        gallery.write_examples(folder / gallery.EXAMPLES)
        password = secrets.token_urlsafe(12)
        gallery.add_admin(home, _ADMIN, password, _ACTOR)
        click.echo(f"\nhttp://127.0.0.1:{port}\nname      {_ADMIN}\npassword  {password}")
        click.echo(f"Images to try: {folder / gallery.EXAMPLES}\nEnd with Ctrl+C.\n")
        serve(home, networks, Listen("127.0.0.1", port), WebOptions())


@contextlib.contextmanager
def _folder(ctx: click.Context) -> Iterator[Path]:
    """Return the folder that --home names, otherwise one that is deleted at the end.

    A variable does not name it: what it means is somebody's real installation.
    """
    if os.environ.get("KD_FACE_DATABASE"):
        raise click.ClickException(
            "the demonstration has a database of its own, but KD_FACE_DATABASE is set. Unset it."
        )
    assert ctx.parent is not None
    if ctx.parent.get_parameter_source("home") is click.core.ParameterSource.COMMANDLINE:
        yield ctx.obj
        return
    with tempfile.TemporaryDirectory(prefix="kd_face_demo_") as folder:
        yield Path(folder)


def _require_free(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise click.ClickException(
                f"port {port} is in use. Name another one by --port."
            ) from error
