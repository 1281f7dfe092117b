"""The commands that pages and help texts show are ones that kdkit takes."""

import re
import shlex

import click
import pytest

from kdkit.cli import group

from .conftest import ROOT

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("*.md"))]
SOURCES = sorted((ROOT / "kdkit/cli").glob("*.py"))


def commands_of(text):
    """Yield the command lines of a page's blocks or of a docstring, as words."""
    for line in text.replace("\\\n", " ").splitlines():
        if match := re.match(r"\s*(?:\$ |    )?kdkit ([a-z-]+(?: .*)?)$", line):
            if not match[1].endswith("..."):  # which stands for more
                yield shlex.split(match[1].partition("  ")[0], comments=True)


def parse(words):
    context = click.Context(group.kdkit, info_name="kdkit")
    command = group.kdkit.get_command(context, words[0])
    assert command is not None, f"no command {words[0]}"
    command.make_context(words[0], words[1:], parent=context)


@pytest.mark.parametrize("file", [*PAGES, *SOURCES], ids=lambda file: file.stem)
def test_they_are_taken(file):
    text = file.read_text()
    if file.suffix == ".md":
        text = "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    else:
        text = text.split('"""')[1]
    for words in commands_of(text):
        try:
            parse(words)
        except click.UsageError as error:
            pytest.fail(f"{file.name}: kdkit {shlex.join(words)}: {error.format_message()}")


def test_most_pages_have_some():
    counted = sum(len(list(commands_of(file.read_text()))) for file in [*PAGES, *SOURCES])
    assert counted > 80


def test_the_page_on_commands_lists_all_of_them():
    rows = re.findall(r"^\| `kdkit ([\w-]+)` \|", (ROOT / "docs/commands.md").read_text(), re.M)
    assert rows == [name for names in group.COMMANDS.values() for name in names]
