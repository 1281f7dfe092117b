"""tools/test.py on results of tools/train.py."""

import json


def test_student_is_evaluated(place, run_tool, tmp_path):
    out = tmp_path / "metrics.json"
    code, text, _ = run_tool(
        "test", place.distilled, place.weights, "--out", out, "--work-dir", tmp_path
    )
    assert code == 0
    metrics = json.loads(out.read_text())
    assert 0 <= metrics["coco/bbox_mAP"] <= 1
    assert "coco/bbox_mAP_50" in text
