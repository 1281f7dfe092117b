import json

import pytest

from kd_engine.doctor.summary import last_metrics, summary_table


def write_run(folder, *entries):
    logs = folder / "20260101_000000" / "vis_data"
    logs.mkdir(parents=True)
    (logs / "scalars.json").write_text("\n".join(map(json.dumps, entries)))


def test_mean_and_sample_deviation_over_seeds(tmp_path):
    for seed, value in enumerate((0.1, 0.2, 0.3)):
        write_run(tmp_path / "hmat" / f"seed{seed}", {"coco/bbox_mAP": value, "step": 8})
    row = summary_table([tmp_path / "hmat"], ["coco/bbox_mAP"]).splitlines()[-1]
    assert row == "| hmat | 3     | 0.200 +- 0.100 |"


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


def test_the_last_saved_epoch_counts_and_a_missing_score_is_said(tmp_path):
    for epoch in (8, 9, 10):
        (tmp_path / f"epoch_{epoch}.pth").touch()
    write_run(tmp_path, {"cls/top1": 0.8, "step": 8}, {"cls/top1": 0.9, "step": 9})
    table = summary_table([tmp_path], ["cls/top1"]).splitlines()
    assert table[2].endswith("| 1     | 0.900    |")
    assert table[4].startswith(f"{tmp_path}: epoch 10 is saved but has no score; ")
    assert "of epoch 9." in table[4]


def test_a_score_of_the_last_saved_epoch_wins_over_a_later_line(tmp_path):
    """As after a new start from an earlier epoch."""
    (tmp_path / "epoch_3.pth").touch()
    write_run(tmp_path, {"cls/top1": 0.3, "step": 3}, {"cls/top1": 0.2, "step": 2})
    assert last_metrics(tmp_path) == ({"cls/top1": 0.3}, [])


def test_a_cut_line_is_left_out_by_name(tmp_path):
    write_run(tmp_path, {"cls/top1": 0.1, "step": 1}, {"cls/top1": 0.2, "step": 2})
    (log,) = tmp_path.glob("*/vis_data/scalars.json")
    log.write_bytes(log.read_bytes()[:-9] + b"\n[1]\n\xff\n")
    metrics, notes = last_metrics(tmp_path)
    assert metrics == {"cls/top1": 0.1}
    assert [note.split(", ")[:2] for note in notes] == [[str(log), f"line {n}"] for n in (2, 3, 4)]
    log.write_text('{"cls/top')
    with pytest.raises(ValueError, match="has no validation.*line 1, is cut off"):
        last_metrics(tmp_path)
