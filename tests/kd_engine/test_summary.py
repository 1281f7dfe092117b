import json

import pytest

from kd_engine.summary import last_metrics, summary_table


def write_run(folder, *entries):
    logs = folder / "20260101_000000" / "vis_data"
    logs.mkdir(parents=True)
    (logs / "scalars.json").write_text("\n".join(map(json.dumps, entries)))


def test_mean_and_sample_deviation_over_seeds(tmp_path):
    for seed, value in enumerate((0.1, 0.2, 0.3)):
        write_run(tmp_path / "hmat" / f"seed{seed}", {"coco/bbox_mAP": value, "step": 8})
    row = summary_table([tmp_path / "hmat"], ["coco/bbox_mAP"]).splitlines()[-1]
    assert row == "| hmat | 3 | 0.200 +- 0.100 |"


def test_the_last_validation_counts_and_training_lines_do_not(tmp_path):
    write_run(
        tmp_path, {"coco/bbox_mAP": 0.1, "step": 1}, {"coco/bbox_mAP": 0.4, "step": 2},
        {"loss": 3.0, "step": 9},
    )  # fmt: skip
    assert last_metrics(tmp_path) == ({"coco/bbox_mAP": 0.4}, [])


def test_a_run_without_validation_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no validation"):
        last_metrics(tmp_path)


def test_an_unknown_metric_shows_those_there_are(tmp_path):
    write_run(tmp_path, {"coco/bbox_mAP": 0.1})
    with pytest.raises(ValueError, match="It has: coco/bbox_mAP"):
        summary_table([tmp_path], ["recall"])
