"""kdkit make-digits: the command line around the digits."""

from __future__ import annotations

import json


def test_options_reach_the_set(run_tool, tmp_path):
    out = str(tmp_path / "digits")
    command = ["make-digits", "--out", out, "--train", "2", "--val", "1", "--size", "80",
               "--max-side", "30"]  # fmt: skip
    assert run_tool(*command, "--seed", "7")[0] == 0
    coco = json.loads((tmp_path / "digits/annotations/instances_train.json").read_text("utf-8"))
    assert [image["width"] for image in coco["images"]] == [80, 80]
    code, text, _ = run_tool(*command, "--seed", "7")
    assert code == 0 and "nothing to do" in text
    code, _, error = run_tool(*command, "--seed", "8")
    assert code == 1 and "seed 7 -> 8" in error
    assert run_tool(*command, "--seed", "8", "--overwrite")[0] == 0


def test_help_explains(run_tool):
    code, text, _ = run_tool("make-digits", "--help")
    assert code == 0 and "data/digits" in text
