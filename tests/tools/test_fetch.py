"""kdkit fetch: the command line around the downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_engine.data.download import public, weights
from kd_engine.data.download.http import DownloadError
from kdkit.cli.fetch import NAMES


def test_names_are_fetched_in_turn(run_tool, tmp_path, monkeypatch):
    calls: list[tuple[str, Path, bool]] = []

    def fetch(name: str, root: Path, keep_archives: bool) -> None:
        calls.append((name, root, keep_archives))

    monkeypatch.setattr(public, "fetch_dataset", fetch)
    monkeypatch.setattr(weights, "fetch_weights", fetch)
    monkeypatch.setenv("KD_DATA", str(tmp_path))
    assert run_tool("fetch", "bccd", "efficientnet-lite")[0] == 0
    assert run_tool("fetch", "voc", "--out", "here", "--keep-archives")[0] == 0
    assert calls == [
        ("bccd", tmp_path, False),
        ("efficientnet-lite", tmp_path, False),
        ("voc", Path("here"), True),
    ]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(DownloadError("no luck"), 1, "no luck"), (KeyboardInterrupt(), 130, "run the command again")],
)
def test_failures_become_exit_codes(run_tool, monkeypatch, error, code, text):
    def fetch(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(public, "fetch_dataset", fetch)
    found, _, said = run_tool("fetch", "bccd")
    assert found == code and text in said


def test_an_unknown_name_is_refused_with_the_choices(run_tool):
    code, _, error = run_tool("fetch", "cocoa")
    assert code == 2 and "'cocoa'" in error and "chess" in error


def test_the_help_names_every_set_and_what_is_fetched_by_hand(run_tool):
    code, text, _ = run_tool("fetch", "--help")
    assert code == 0 and sorted(NAMES) == sorted([*public.DATASETS, *weights.WEIGHT_SETS])
    assert all(f"kdkit fetch {name} " in text for name in NAMES)
    by_hand = text.partition("By hand:")[2].partition("Options:")[0]
    assert all(f" {name}/ " in by_hand for name in (*public._BY_HAND, "cars196"))
