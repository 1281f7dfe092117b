"""Training time of a run, from its logs."""

import json

from kd_engine.compare.finished import training_seconds


def write(folder, name, entries):
    (folder / name / "vis_data").mkdir(parents=True)
    lines = "\n".join(json.dumps(one) for one in entries)
    (folder / name / "vis_data/scalars.json").write_text(lines)


def test_what_was_repeated_counts_once_and_validations_do_not(tmp_path):
    first = [{"loss": 1.0, "iter": 10, "time": 0.5}, {"loss": 1.0, "iter": 20, "time": 9.0},
             {"cls/top1": 3.0, "time": 7.0, "step": 1}]  # fmt: skip
    resumed = [{"loss": 1.0, "iter": 20, "time": 1.0}, {"loss": 1.0, "iter": 23, "time": 2.0}]
    write(tmp_path, "20260101_000000", first)
    write(tmp_path, "20260101_000100", resumed)
    assert training_seconds(tmp_path) == 10 * 0.5 + 10 * 1.0 + 3 * 2.0
    assert training_seconds(tmp_path / "none") is None
