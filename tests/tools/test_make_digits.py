"""The command line around the digits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools/make_digits.py"


def exit_code(tool: ModuleType, arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as stop:
        tool.main(arguments)
    return stop.value.code


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_digits", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_options_reach_the_set(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "digits")
    command = ["--out", out, "--train", "2", "--val", "1", "--size", "80", "--max-side", "30"]
    assert tool.main([*command, "--seed", "7"]) == 0
    coco = json.loads((tmp_path / "digits/annotations/instances_train.json").read_text("utf-8"))
    assert [image["width"] for image in coco["images"]] == [80, 80]
    assert tool.main([*command, "--seed", "7"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert exit_code(tool, [*command, "--seed", "8"]) == 1
    assert "seed 7 -> 8" in capsys.readouterr().err
    assert tool.main([*command, "--seed", "8", "--overwrite"]) == 0


def test_help_explains(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tool.main(["--help"])
    assert stop.value.code == 0
    assert "data/digits" in capsys.readouterr().out
