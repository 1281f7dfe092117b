"""kdkit cost."""

import json

from .classification_run import ALONE, MANY


def test_teacher_and_student_with_their_weights(classification, run_tool, tmp_path):
    out = tmp_path / "cost.json"
    command = ["cost", MANY, classification.run, "--json", out, "--rounds", "2", "--device", "cpu",
               "--threads", "1", "--cfg-options", *classification.named]  # fmt: skip
    code, text, error = run_tool(*command)
    assert code == 0, error
    lines = text.splitlines()
    table = next(number for number, line in enumerate(lines) if line.startswith("model "))
    assert lines[table + 1].startswith("teacher ") and lines[table + 2].startswith("student ")
    assert "1 thread(s)" in text and "teacher / student: stored " in lines[-1]
    read = json.loads(out.read_text())
    assert read["models"]["teacher"]["weights"] == str(classification.teacher / "epoch_1.pth")
    assert read["models"]["student"]["weights"].startswith(str(classification.run))
    code, _, error = run_tool(*command)
    assert code == 1 and "--overwrite" in error


def test_a_plain_config(run_tool):
    code, text, error = run_tool("cost", ALONE, "--rounds", "1", "--size", "32", "32")
    assert code == 0, error
    assert "\nmodel " in text and "teacher" not in text and "a random image, 32 x 32" in text


def test_wrong_input(run_tool, tmp_path, classification):
    for words, said in (
        (("cost", tmp_path / "none.py"), "none.py"),
        (("cost", ALONE, "--device", "gpu"), "cpu, cuda or cuda:N, but it is 'gpu'"),
        (("cost", ALONE, tmp_path / "none.pth"), "none.pth"),
        (("cost", ALONE, classification.teacher / "epoch_1.pth"), "does not fit"),
        (("cost", ALONE, "--json", ALONE), "must not replace what it reads"),
    ):
        code, _, error = run_tool(*words)
        assert code == 1 and said in error, words
    assert run_tool("cost", ALONE, "--rounds", "0")[0] == 2
