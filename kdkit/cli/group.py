"""Group of all subcommands: found by name, imported when they are asked for."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from kd_core.packages import kept_imports, missing_package
from kdkit import __version__
from kdkit.cli.command import SETTINGS

COMMANDS = {
    "Train and measure": ("train", "test", "compare", "chain", "summarise"),
    "Before training": ("configs", "check", "layers", "cost", "calibrate"),
    "Use a student": ("export", "export-onnx", "embed", "search"),
    "Face recognition": ("face",),
    "Data": ("fetch", "make-digits", "make-retrieval-sets"),
    "The whole of it": ("demo", "benchmark"),
}
_INTERRUPTED = 130
_EPILOG = """
Exit codes: 0 done; 1 an error, which one sentence explains; 2 a wrong command line; 130
interrupted by Ctrl-C.

KD_DATA names the folder of all data (default: data). With KD_TRACEBACK=1 tracebacks and what
libraries print are shown. Completion of bash: eval "$(_KDKIT_COMPLETE=bash_source kdkit)";
of zsh and fish likewise.
"""


class Commands(click.Group):
    """Subcommands, each the ``command`` of a module of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"kdkit.cli.{cmd_name.replace('-', '_')}")
        found: click.Command = module.command
        found.name = cmd_name
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that is asked for, or name the nearest ones."""
        name, known = args[0], self.list_commands(ctx)
        if not name.startswith("-") and name not in known and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, known) or known
            ctx.fail(f"there is no command {name!r}. Nearest names: {', '.join(near)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands, each with the first line of its help."""
        for title, names in COMMANDS.items():
            with formatter.section(title):
                rows = [(name, self.get_command(ctx, name)) for name in names]
                formatter.write_dl(
                    [(name, (found.help or "").partition("\n")[0].rstrip(".:"))
                     for name, found in rows if found]
                )  # fmt: skip

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the notes that hold for all of them."""
        formatter.write(_EPILOG)


@click.group(
    cls=Commands,
    context_settings=SETTINGS,
)
@click.version_option(__version__, prog_name="kdkit", message="%(prog)s %(version)s")
def kdkit() -> None:
    """Distil detectors, embedding networks and classifiers."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process.

    Args:
        arguments: A subcommand and its arguments; by default those of this process.

    Raises:
        SystemExit: With the exit code: 0, 1 after an error, 2 if the command line is wrong, 130
            after an interrupt; 1 without a word if the reader of the output is gone (``| head``).
    """
    try:
        with kept_imports():
            code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        code = 1
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = kdkit.main(arguments, prog_name="kdkit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        code = _INTERRUPTED
    except (ImportError, RuntimeError) as error:
        if os.environ.get("KD_TRACEBACK") or not (message := _message(error)):
            raise
        click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
        code = 1
    return int(code or 0)


def _message(error: ImportError | RuntimeError) -> str:
    """Return what is wrong with the installation, in a sentence; "" if it is something else."""
    if not isinstance(error, ModuleNotFoundError):
        is_ours = "kdkit[" in str(error) or "kd_engine" not in sys.modules  # which refuses
        return str(error) if is_ours else ""
    try:
        return str(missing_package("this command", (error.name or "").partition(".")[0]))
    except KeyError:
        return ""
