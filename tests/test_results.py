"""Tables of docs/results.md are those of the results files that they name."""

import re
import shlex

import pytest

from kdkit.cli import main

from .project_file import ROOT

PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^kdkit compare --from .*", PAGE, re.MULTILINE)
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/results").iterdir())


def test_every_results_file_has_its_table():
    assert sorted(shlex.split(command)[3] for command in COMMANDS) == FILES


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: shlex.split(command)[3])
def test_the_table_of_a_results_file(command, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(command)[1:])
    assert stopped.value.code == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) > 3
    for line in lines:
        assert line in PAGE
