"""Subcommand of the web server."""

from __future__ import annotations

from pathlib import Path

import click

from kd_core.packages import require_packages
from kdkit.cli.face.opening import errors, opened

NEEDED = ("fastapi", "uvicorn", "jinja2", "python_multipart", "prometheus_client")


@click.command(name="serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option(
    "--behind-tls-proxy",
    "proxy",
    metavar="ADDRESS",
    help="A proxy at this address speaks HTTPS with the browsers; nobody else may connect.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST",
    help="Name under which browsers ask for the server (default: localhost); may be repeated.",
)
@click.option(
    "--recognitions",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Images that are recognized at the same time.",
)
@click.option(
    "--key-rate",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    help="Requests a minute of one API key.",
)
@click.pass_obj
def serve(
    folder: Path,
    host: str,
    port: int,
    proxy: str | None,
    names: tuple[str, ...],
    recognitions: int,
    key_rate: int,
) -> None:
    """Serve pages and REST API, on loopback unless a proxy with TLS is before it."""
    with errors():
        from kd_face.web.listen import Listen, require_safe
        from kd_face.web.options import LOCAL, WebOptions

        hosts = tuple(one.lower() for one in names) or (() if proxy else LOCAL)
        options = WebOptions(
            tls=proxy is not None, hosts=hosts, recognitions=recognitions, key_rate=key_rate
        )
        listen = Listen(host, port, proxy)
        require_safe(listen, options)
    require_packages("kdkit face serve", NEEDED)
    with opened(folder) as (home, networks):
        from kd_face.web.serve import serve as run

        click.echo(f"http://{host}:{port} - end with Ctrl+C", err=True)
        run(home, networks, listen, options)
