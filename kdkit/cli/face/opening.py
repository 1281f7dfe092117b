"""Opening of an installation by a subcommand, and its errors in one sentence."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kd_core.packages import quick_imports, require_packages

if TYPE_CHECKING:
    from kd_face.home import Home
    from kd_face.pictures import Networks

ACTOR = "command"  # in the audit log
_NEEDED = ("sqlalchemy", "alembic", "argon2", "faiss", "PIL")


@contextlib.contextmanager
def errors(*needed: str) -> Iterator[None]:
    """End with one sentence where the application or the system refuses."""
    with quick_imports():
        require_packages("kdkit face", (*_NEEDED, *needed))
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (ValueError, OSError) as error:
        if os.environ.get("KD_TRACEBACK"):
            raise
        raise click.ClickException(str(error)) from error
    except DBAPIError as error:
        if os.environ.get("KD_TRACEBACK"):
            raise
        raise click.ClickException(f"the database refuses: {error.orig}") from error


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple[Home, Networks]]:
    """Open an installation with its networks; dlib is asked for where there is one.

    Args:
        folder: Of the installation.
    """
    with errors():
        from kd_face.home import open_home
        from kd_face.networks import networks_of

        home = open_home(folder)
        require_packages("kdkit face", ["dlib"])
        yield home, networks_of(home)
