"""Tables of joint scores: the raw values first, then S with its references, then gap closed."""

import pytest

from kd_engine.cost.latency import Latency
from kd_engine.cost.measure import ModelCost
from kd_engine.cost.score import Cost, References
from kd_engine.cost.table import Arm, joint_lines

DEVICE = "a CPU"


def cost(size):
    latency = {DEVICE: Latency(size * 1e-3, size * 0.9e-3, size * 1.2e-3, 50)}
    return ModelCost(size * 1000, size * 2**20, size * 10**9, latency, "weights.pth")


TEACHER = Arm("teacher", 0.5, None, cost(10))
ALONE = Arm("alone", 0.46, 0.01, cost(1))
DISTILLED = Arm("hmat", 0.48, 0.01, cost(1), "alone")
REFERENCES = References("mAP", 0.5, Cost(10 * 2**20, 10**10, 10e-3), DEVICE)


def lines_of(*arms, scores="mAP", show="{:.3f}".format):
    return joint_lines(arms, REFERENCES, scores, show)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_raw_values_come_first():
    lines = lines_of(TEACHER, ALONE, DISTILLED)
    assert cells(lines[0]) == ["model", "mAP", "parameters", "stored", "MACs", "latency"]
    assert cells(lines[2]) == [
        "teacher", "0.500", "10,000", "10.00 MiB", "10.000 G", "10.00 ms (9.00 to 12.00)"
    ]  # fmt: skip
    assert cells(lines[4])[:2] == ["hmat", "0.480 +- 0.010"]
    joint = lines.index("") + 1
    assert cells(lines[joint]) == ["model", "R", "rho", "E", "S = R x E", "gap closed"]
    # R: q_ref is 0.45; 0.05 are 1; a deviation of 0.01 is one of 0.2
    assert cells(lines[joint + 2]) == ["teacher", "1.00", "1.00", "0.00", "0.00", ""]
    assert cells(lines[joint + 3]) == ["alone", "0.20", "10.00", "1.00", "0.20 +- 0.20", ""]
    assert cells(lines[joint + 4]) == ["hmat", "0.60", "10.00", "1.00", "0.60 +- 0.20", "50%"]
    text = "\n".join(lines[joint + 5 :])
    for part in (
        "tau 0.1",
        "rho target 10",
        "on a CPU",
        "teacher's mAP 0.5",
        "(model - its student alone)",
    ):
        assert part in text


def test_a_gap_under_two_deviations_is_blank():
    shaky = Arm("alone", 0.46, 0.03, cost(1))
    lines = lines_of(shaky, DISTILLED)
    assert cells(lines[-4])[-1] == "" and cells(lines[-4])[0] == "hmat"


def test_without_a_student_alone_there_is_no_gap():
    text = "\n".join(lines_of(ALONE))
    assert "ap closed" not in text and "S = R x E" in text


def test_a_score_that_is_cut_off_has_no_deviation():
    lines = lines_of(Arm("bad", 0.4, 0.01, cost(1)))
    assert cells(lines[lines.index("") + 3])[1:] == ["0.00", "10.00", "1.00", "0.00"]


def test_scores_as_they_are_shown():
    lines = lines_of(ALONE, scores="mAP, %", show=lambda value: f"{100 * value:.1f}")
    assert cells(lines[0])[1] == "mAP, %" and cells(lines[2])[1] == "46.0 +- 1.0"


def test_a_wrong_name_is_named():
    with pytest.raises(ValueError, match="one of teacher, hmat, but it is 'alone'"):
        lines_of(TEACHER, DISTILLED)
