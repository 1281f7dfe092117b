"""The command ``kdkit``: one file for each subcommand.

At their top these files import click and little else, so that ``--help`` and the completion of a
shell are quick; what a subcommand needs to do its work is imported when it runs.
"""

from kdkit.cli.group import main

__all__ = ["main"]
