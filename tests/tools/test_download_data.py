"""The command line around the downloads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from kd_engine.data.download.http import DownloadError

TOOL = Path(__file__).parents[2] / "tools/download_data.py"


def exit_code(tool: ModuleType, arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as stop:
        tool.main(arguments)
    return stop.value.code


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("download_data", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_are_fetched_in_turn(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, Path, bool]] = []

    def fetch(name: str, root: Path, keep_archives: bool) -> None:
        calls.append((name, root, keep_archives))

    monkeypatch.setattr(tool, "fetch_dataset", fetch)
    monkeypatch.setenv("KD_DATA", str(tmp_path))
    assert tool.main(["bccd", "chess"]) == 0
    assert tool.main(["voc", "--out", "here", "--keep-archives"]) == 0
    expected = [("bccd", tmp_path, False), ("chess", tmp_path, False), ("voc", Path("here"), True)]
    assert calls == expected


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(DownloadError("no luck"), 1, "no luck"), (KeyboardInterrupt(), 130, "run the command again")],
)
def test_failures_become_exit_codes(
    tool: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(tool, "fetch_dataset", fetch)
    assert exit_code(tool, ["bccd"]) == code
    assert text in capsys.readouterr().err


def test_an_unknown_name_is_refused_with_the_choices(
    tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tool.main(["cocoa"])
    assert "chess" in capsys.readouterr().err


def test_the_help_names_every_set_and_what_is_fetched_by_hand(
    tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tool.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"download_data.py {name} " in text for name in tool.DATASETS)
    assert "In-Shop" in text and "docs/retrieval_data.md" in text
