"""Trials in processes of their own, and their table."""

import json
import os
import signal

import pytest

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators
from kd_det.zoo import run as module
from kd_det.zoo.run import run_zoo, table
from kdkit.cli import main

GOOD = {"trains": "yes", "distils": "yes", "predicts": "yes", "reason": ""}


def quick(config, note):
    note("plain mmdet, building")
    if "ssd300" in config:
        note("kdkit, one training step")
        os.kill(os.getpid(), signal.SIGKILL)
    if "yolof" in config:
        os._exit(7)
    return GOOD


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "try_family", quick)
    return tmp_path / "zoo.md"


def test_a_crash_is_a_row_and_not_the_end(out):
    said = []
    rows = run_zoo(["ssd", "yolof", "atss"], out, False, said.append)
    assert rows["ssd"]["trains"] == "yes" and rows["ssd"]["distils"] == "no"
    assert "SIGKILL, in: kdkit, one training step" in rows["ssd"]["reason"]
    assert (
        rows["yolof"]["trains"] == "no"
        and "mmdet's own: the process ended with code 7" in (rows["yolof"]["reason"])
    )
    assert rows["atss"]["distils"] == "yes" and len(said) == 3
    text = out.read_text()
    assert "3 of " in text and "2 train in plain mmdet, 1 of them distil." in text
    assert "| atss | atss_r50_fpn_1x_coco | yes | yes | yes |  |" in text
    assert "| dino | dino-4scale_r50_8xb2-12e_coco | not run |  |  |  |" in text
    assert "glip: needs texts" in text


def test_what_the_table_has_is_not_run_again(out, monkeypatch):
    run_zoo(["atss"], out, False, print)
    monkeypatch.setattr(module, "try_family", lambda config, note: {**GOOD, "distils": "no"})
    assert run_zoo(["atss", "dino"], out, False, print)["atss"]["distils"] == "yes"
    assert run_zoo(["atss"], out, True, print)["atss"]["distils"] == "no"
    content = json.loads(out.with_suffix(".json").read_text())
    content["versions"] = "torch 1.0"
    out.with_suffix(".json").write_text(json.dumps(content))
    assert run_zoo(["dino"], out, False, print).keys() == {"dino"}  # of other packages


def test_a_family_that_takes_too_long(out, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST", 0.5)
    monkeypatch.setattr(module, "try_family", lambda config, note: signal.pause())
    assert "not done after 0 s" in run_zoo(["atss"], out, False, print)["atss"]["reason"]


def test_wrong_names(out):
    for name, why in (("glip", "out of scope: it needs texts"), ("cityscapes", "of mask_rcnn"),
                      ("resnet", "no family 'resnet'.*atss")):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            run_zoo([name], out, False, print)
    with pytest.raises(ValueError, match=r"to a \.md file"):
        run_zoo(["atss"], out.with_suffix(".txt"), False, print)
    assert "0 of " in table({})


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (
            ["--zoo", "--only", "atss", "yolof"],
            0,
            "atss: trains yes distils yes predicts yes\nyolof",
        ),
        (["--zoo", "--only", "glip"], 1, "out of scope"),
        (["a.py", "--zoo"], 2, "exclude each other"),
        (["a.py", "--only", "atss"], 2, "--only belongs to --zoo"),
        ([], 2, "Missing argument 'CONFIG'"),
    ],
)
def test_the_command(out, words, code, text, capfd, monkeypatch):
    monkeypatch.chdir(out.parent)
    with pytest.raises(SystemExit) as end:
        main(["check", *words])
    found = capfd.readouterr()
    assert end.value.code == code and text in found.out + found.err
    assert (out.parent / "work_dirs" / "zoo.md").is_file() == (code == 0)
