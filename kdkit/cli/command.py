"""Parts of subcommands: help as it is written, explained arguments, options with several values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

# How a subcommand starts another one: not by "-m kdkit", which looks in the current folder first.
PROGRAM = (
    "-c",
    "import sys; sys.path[:] = filter(None, sys.path); from kdkit.cli import main; main()",
)
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
CONFIG = {
    "CONFIG": "Config file, METHOD+DATASET, or the name of an installed config: kdkit::<name> "
    "(kdkit configs lists them) or mmdet::<name>."
}
CHECKPOINT = {
    "CHECKPOINT": "File, URL or work dir; with --teacher the default is that of the config."
}
_Function = TypeVar("_Function", bound=Callable[..., Any])


class ConfigName(click.Path):
    """Name of a config; after ``kdkit::`` a shell completes those of built-in ones."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like this, or have the shell complete paths."""
        if not incomplete.startswith("kdkit:"):
            return super().shell_complete(ctx, param, incomplete)
        from kd_engine.config.builtin import list_composed, list_configs

        return [
            CompletionItem(one.name, help=one.summary)
            for one in (list_composed() if "+" in incomplete else list_configs())
            if one.name.startswith(incomplete)
        ]


class ManyOption(click.Option):
    """Option with all values up to the next option: ``--ks 1 2 4``. Declare it as multiple."""


class Command(click.Command):
    """Subcommand that prints its help line by line, and a list of its arguments."""

    arguments: Mapping[str, str] = {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        return super().parse_args(ctx, list(self._one_value_each(args)))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help without wrapping it: it holds command lines."""
        lines = inspect.cleandoc(self.help or "").splitlines()
        formatter.write("".join(f"\n  {line}".rstrip(" ") for line in lines) + "\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the arguments are, and the options."""
        if self.arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(list(self.arguments.items()))
        super().format_options(ctx, formatter)

    def _one_value_each(self, words: Sequence[str]) -> Iterator[str]:
        """Repeat the name of a :class:`ManyOption` before each further value of it."""
        many = [param for param in self.params if isinstance(param, ManyOption)]
        names = {name for option in many for name in option.opts}
        name, values = "", 0
        for word in words:
            if word.startswith("-"):
                name, values = word if word in names else "", 0
            else:
                if name and values:
                    yield name
                values += 1
            yield word


def subcommand(
    help: str | None, arguments: Mapping[str, str]
) -> Callable[[Callable[..., Any]], Command]:
    """Make a subcommand of a function.

    Args:
        help: The docstring of its module.
        arguments: Name of an argument in the usage line to what it is.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        made = click.command(cls=Command, help=help, context_settings=SETTINGS)(function)
        made.arguments = arguments
        return made

    return decorate


def config_argument(function: _Function) -> _Function:
    """Add CONFIG and the changes of its settings: ``config`` and ``cfg_options``."""
    return click.argument("config", type=ConfigName())(options_of_config(function))


def options_of_config(function: _Function) -> _Function:
    """Add the changes of a config's settings: ``cfg_options``."""
    return cfg_options(
        "Change settings of the config, e.g. train_dataloader.batch_size=4 "
        "model.teacher.checkpoint=best.pth"
    )(function)


def cfg_options(help: str) -> Callable[[_Function], _Function]:
    """Add the option ``--cfg-options``; ``kd_engine.config.load.parse_options`` reads its texts."""
    return click.option(
        "--cfg-options",
        cls=ManyOption,
        multiple=True,
        metavar="KEY=VALUE...",
        callback=_require_pairs,
        help=help,
    )


def checkpoint_argument(function: _Function) -> _Function:
    """Add a CHECKPOINT that may be left out: ``checkpoint``, or None."""
    # nargs=-1 so that a required argument may follow
    return click.argument(
        "checkpoint", nargs=-1, type=click.Path(), callback=_one_at_most, metavar="[CHECKPOINT]"
    )(function)


def launcher_options(function: _Function) -> _Function:
    """Add the options of a distributed run's processes: ``launcher`` and ``local_rank``."""
    launcher = click.option(
        "--launcher",
        type=click.Choice(["none", "pytorch", "slurm", "mpi"]),
        default="none",
        help="How the processes of a distributed run were started.",
    )
    rank = click.option("--local-rank", "--local_rank", type=int, default=0, hidden=True)
    return launcher(rank(function))


def overwrite_option(what: str) -> Callable[[_Function], _Function]:
    """Add the flag ``overwrite``, which replaces ``what``."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {what}.")


def exclusive(options: Mapping[str, Any]) -> None:
    """Refuse a command line with more than one of some options.

    Args:
        options: Name to value; None, False or an empty one if it is not given.

    Raises:
        click.UsageError: Names those that are given.
    """
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other. Give one of them.")


def _require_pairs(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"it must be KEY=VALUE, but it is {value!r}")
    return values


def _one_at_most(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> str | None:
    if len(values) > 1:
        raise click.UsageError(f"Got unexpected extra argument ({values[1]})")
    return values[0] if values else None
