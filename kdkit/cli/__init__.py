"""Command ``kdkit``: one file or package for each subcommand.

At their top these files import click and little else, so that ``--help`` and the completion of a
shell are fast; packages that a subcommand needs for its work are imported when it runs.
"""

from kdkit.cli.group import main

__all__ = ["main"]
