"""Report of a comparison: table, verdict and warnings of synthetic runs."""

import dataclasses
import json
import math

import pytest

from kd_engine.compare.report import Report, report_of_scores
from kd_engine.compare.results import Arm, Results, Run, read_results, write_results

METRIC = "coco/bbox_mAP"
ALONE = {0: 0.300, 1: 0.310, 2: 0.305, 3: 0.295, 4: 0.302}


TABLE = """
| arm   | seeds | coco/bbox_mAP, % |         other | difference, mAP |  95 % interval | better | minutes a run |
| ----- | ----: | ---------------: | ------------: | --------------: | -------------: | -----: | ------------: |
| alone |     5 |    30.24 +- 0.56 | 12.00 +- 0.00 |                 |                |        |           1.5 |
| hmat  |     2 |    33.70 +- 0.99 | 12.00 +- 0.00 |           +3.20 | +0.66 to +5.74 | 2 of 2 |           1.5 |
| at    |     0 |                - |             - |                 |                |        |             - |
"""  # noqa: E501


def plus(gains, base=ALONE):
    return {seed: base[seed] + gain for seed, gain in enumerate(gains)}


def results(scores, **kinds):
    """Return results with an arm for each name, of which the first is plain."""
    arms, runs = [], []
    for number, (name, of_arm) in enumerate(scores.items()):
        kind = kinds.get(name, "distilled" if number else "plain")
        longer = "longer" if kind == "distilled" and "longer" in scores else None
        arms.append(Arm(name, f"{name}.py", name, kind, "8 epochs", 8, longer=longer))
        runs += [Run(f"{name}.py", name, seed, {METRIC: value, "other": 12.0}, seconds=90.0)
                 for seed, value in of_arm.items()]  # fmt: skip
    return Results(tuple(arms), tuple(runs))


def verdict(*arguments, **kinds):
    return Report(results(*arguments, **kinds)).verdict()


def test_help_is_said_with_its_figures():
    gains = [0.030, 0.034, 0.029, 0.033, 0.031]
    assert verdict({"alone": ALONE, "hmat": plus(gains)}) == (
        "hmat helps: +3.14 mAP, 95 % interval +2.88 to +3.40, better with 5 of 5 seeds."
    )


def test_harm_is_said():
    found = verdict({"alone": ALONE, "hmat": plus([-0.03, -0.034, -0.029])})
    assert found.startswith("hmat harms: -3.10 mAP") and "better with 0 of 3" in found


def test_noise_is_said_with_the_seeds_that_would_be_needed():
    found = verdict({"alone": ALONE, "hmat": plus([0.03, -0.01, 0.02])})
    assert found == (
        "hmat cannot be told from noise with 3 seeds: +1.33 mAP, 95 % interval -3.84 to +6.50, "
        "better with 2 of 3 seeds; about 22 would be needed."
    )
    found = verdict({"alone": ALONE, "hmat": plus([0.03, -0.0299, 0.0])})
    assert found.endswith("; more than 1000 would be needed.")


def test_without_distillation_between_them_nothing_helps():
    scores = {"alone": ALONE, "wide": plus([0.03, 0.034, 0.029]), "slow": plus([-0.1, -0.09])}
    first, second = verdict(scores, wide="plain", slow="plain").splitlines()
    assert first.startswith("wide is better than alone: +3.10 mAP")
    assert second.startswith("slow is worse than alone: -9.50 mAP")
    found = verdict({"kd": ALONE, "hmat": plus([0.03, -0.01])}, kd="distilled")
    assert found.startswith("hmat against kd cannot be told from noise with 2 seeds")


def test_seeds_that_are_left_out_are_named():
    report = Report(results({"alone": ALONE, "hmat": {0: 0.33, 1: math.nan, 2: 0.34}}))
    assert report.warnings == ["hmat: the score of seed 1 is missing or not finite, left out."]
    assert "| hmat  |     3 |    33.50 +- 0.71 |" in report.table()  # the mean of the others


def test_one_arm_is_compared_with_nothing():
    assert verdict({"hmat": ALONE}) == "hmat is alone: give a config to compare it with."


def test_one_seed_proves_nothing():
    found = verdict({"alone": {0: 0.3}, "hmat": {0: 0.4}})
    assert found.startswith("hmat with one seed: +10.00 mAP, which proves nothing")


def test_no_common_seed_is_said():
    found = verdict({"alone": {0: 0.3}, "hmat": {1: 0.4, 2: math.nan}})
    assert found == "hmat has no seed in common with alone that has a score."


def test_seeds_without_effect_are_said():
    found = Report(results({"alone": {0: 0.3, 1: 0.3}, "hmat": {0: 0.4, 1: 0.4}}))
    assert "by exactly +10.00 mAP with each of 2 seeds" in found.verdict()
    assert found.warnings[0].startswith("alone: all 2 seeds give the same score, 30.00")


@pytest.mark.parametrize(
    ("gains", "said"),
    [([0.05, 0.052, 0.049], "More epochs help more: hmat against longer: -2.03 mAP"),
     ([0.01, 0.012, 0.009], "More epochs do not replace it: hmat against longer: +1.97 mAP"),
     ([0.01, 0.05, 0.03], "Whether more epochs help as much cannot be told: hmat against longer")],
)  # fmt: skip
def test_the_time_is_set_against_it(gains, said):
    scores = {"alone": ALONE, "longer": plus(gains), "hmat": plus([0.03, 0.03, 0.03001])}
    first, second = verdict(scores, longer="longer").splitlines()
    assert first.startswith("hmat helps") and second.startswith(said)


def test_lower_is_better_for_a_loss():
    scores = {"alone": {0: 0.5, 1: 0.52, 2: 0.51}, "kd": {0: 0.4, 1: 0.43, 2: 0.41}}
    assert report_of_scores(scores, "val/loss").verdict().startswith("kd helps: -0.097 loss")
    assert report_of_scores(scores, "val/loss", False).verdict().startswith("kd harms")


def test_the_table_has_a_row_for_each_arm():
    report = Report(results({"alone": ALONE, "hmat": plus([0.03, 0.034]), "at": {}}))
    assert report.table().splitlines() == TABLE.strip().splitlines()


def test_objects_of_a_size_that_no_image_has_leave_a_dash():
    report = Report(results({"alone": {0: -1.0, 1: -1.0}, "kd": {0: 0.5, 1: 0.6}}))
    alone, kd = report.table().splitlines()[-2:]
    assert [one.strip() for one in alone.split("|")[1:4]] == ["alone", "2", "-"]
    assert "+150" not in kd and "55.00 +- 7.07" in kd
    assert report.warnings == ["alone: the score of seed 0, 1 is missing or not finite, left out."]


def test_unfair_arms_are_named():
    found = results({"alone": ALONE, "hmat": plus([0.03, 0.034])})
    alone, hmat = found.arms
    other = dataclasses.replace(hmat, length="12 epochs", batch_size=4,
                                digests={"student": "x", "schedule": "y"},
                                warnings=("its length is chosen on the test data",),
                                scored_on_test=True)  # fmt: skip
    runs = [dataclasses.replace(run, trained={"teacher": str(run.seed)}, notes=("odd",),
                                version={"kdkit": str(run.seed)})
            for run in found.runs if run.fingerprint == "hmat"]  # fmt: skip
    report = Report(Results((alone, other), (*found.runs_of(alone).values(), *runs)))
    assert report.warnings == [
        "hmat and alone have another budget: 12 epochs and 8 epochs.",
        "hmat and alone have other batch sizes: 4 and 8.",
        "hmat and alone differ in more than distillation: student, schedule.",
        "hmat: its length is chosen on the test data.",
        "hmat: its seeds had 2 different checkpoints as teacher.",
        "the runs were made by several versions of kdkit: 0, 1.",
        "odd", "odd",
    ]  # fmt: skip
    assert "choose no setting and no epoch by them" in report.markdown()


def test_the_file_holds_everything(tmp_path):
    found = results({"alone": ALONE, "hmat": {0: 0.31, 1: math.nan}})
    write_results(tmp_path / "a.json", found, Report(found).conclusions())
    read = read_results(tmp_path / "a.json")
    assert read.arms == found.arms
    assert str(read.runs) == str(found.runs)  # NaN is not equal to itself
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["differences"][0]["left_out"] == [1, 2, 3, 4]
    assert content["verdict"][0].startswith("hmat with one seed")
    assert "NaN" not in (tmp_path / "a.json").read_text()


FORMAT = '"format": "kdkit compare 1"'
BROKEN = ("{", "[]", '{"format": "other"}', f"{{{FORMAT}}}",
          f'{{{FORMAT}, "arms": [{{"x": 1}}], "runs": []}}')  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_another_file_is_refused_and_stays(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="must be results of kdkit compare"):
        read_results(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == text


def test_arms_are_replaced_by_name_and_derived_ones_go_with_the_last_that_names_them():
    alone = Arm("alone", "kd.py", "1", derived=True, warnings=("leak",))
    hmat = Arm("hmat", "hmat.py", "2", "distilled", baseline="alone")
    first = Results().with_arms([hmat, alone])
    assert [arm.name for arm in first.arms] == ["alone", "hmat"]
    again = first.with_arms([dataclasses.replace(alone, warnings=())])
    assert again.arms[0].warnings == ("leak",)
    changed = dataclasses.replace(hmat, fingerprint="3", baseline="student")
    assert [arm.fingerprint for arm in first.with_arms([changed]).arms] == ["3"]


def test_no_run_is_an_error_that_says_why():
    with pytest.raises(ValueError, match="no run has finished. hmat, seed 0 ended"):
        Report(Results((Arm("hmat", "hmat.py", "1"),)), failures=["hmat, seed 0 ended"])
