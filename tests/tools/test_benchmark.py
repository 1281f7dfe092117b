import dataclasses
import json
from unittest import mock

import numpy as np
import pytest
import torch

from benchmarks.measure import interleave, peak_bytes, ratios, spread
from benchmarks.recall.case import SIZES, RecallContest, Size, synthetic
from benchmarks.recall.cost import resident_peak_bytes

TINY = """
_base_ = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"
default_scope = "mmdet"
custom_imports = dict(imports=["kd_det"])
model = dict(
    backbone=dict(depth=18, base_channels=4),
    neck=dict(in_channels=[4, 8, 16, 32], out_channels=8),
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=8),
        bbox_head=dict(in_channels=8, fc_out_channels=16, num_classes=3),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=50, max_per_img=20)),
)
"""
DISTILLED = """
_base_ = "student.py"
model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student={{{{_base_.model}}}},
    teacher=dict(config={teacher!r}, checkpoint="weights that are not there.pth"),
    dry_run_size=(64, 64),
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
            schedule=dict(type="kd_core.schedules.LinearWarmup", begin=0, end=100),
        ),
        asckd=dict(loss=dict(type="kd_core.losses.ASCKDLoss"), layers="neck[0:4]"),
    ),
)
"""


@pytest.fixture
def configs(tmp_path):
    student = tmp_path / "student.py"
    student.write_text(TINY, encoding="utf-8")
    distilled = tmp_path / "distilled.py"
    distilled.write_text(DISTILLED.format(teacher=str(student)), encoding="utf-8")
    return tmp_path


def test_distill_prints_the_table_and_writes_json(configs, run_tool):
    out = configs / "report.json"
    size = ["--size", 64, 64, "--hmat-size", 64, 96, "--rounds", 1]
    code, printed, _ = run_tool(
        "benchmark", "distill", configs / "distilled.py", *size, "--out", out
    )
    assert code == 0
    for title in ("student step", "teacher extract_feat", "distilled step", "hmat", "asckd"):
        assert title in printed
    report = json.loads(out.read_text(encoding="utf-8"))
    for clock, (ratio,) in report["ratios"].items():
        (student,), (teacher,), (distilled,) = (
            report["seconds"][name][clock] for name in ("student", "teacher", "distilled")
        )
        assert ratio == pytest.approx(distilled / (student + teacher))
        assert report["ratio"][clock]["median"] == ratio
    memory = report["peak_bytes"]
    assert memory["distilled"] > memory["student"] > memory["teacher"] > 0
    # The gradient of the student's map is part of what HMAT needs.
    assert report["hmat_bytes"]["stride_4"] >= report["hmat_bytes"]["stride_4_map"]


def test_a_plain_config_is_refused(configs, run_tool):
    code, _, errors = run_tool("benchmark", "distill", configs / "student.py")
    assert code == 1
    assert "the config must be one with a teacher" in errors


CLASSIFIER = """
custom_imports = dict(imports=["kd_cls"])
student = dict(
    type="kd_cls.Classifier",
    network=dict(type="kd_cls.CifarNetwork", name="resnet8", num_classes=10),
)
model = dict(
    type="kd_cls.DistilledClassifier",
    student=student,
    teacher=dict(config=student, checkpoint="weights that are not there.pth"),
    terms=dict(kd=dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="logits")),
)
"""


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_distill_measures_a_classifier_by_its_own_package(tmp_path, run_tool, threads):
    config, out = tmp_path / "kd.py", tmp_path / "report.json"
    config.write_text(CLASSIFIER, encoding="utf-8")
    options = ["--size", 16, 16, "--batch", 3, "--rounds", 1, "--out", out]
    count = torch.get_num_threads() + 1
    code, printed, _ = run_tool("benchmark", "distill", config, *options, "--threads", count)
    assert code == 0
    assert "3 images of 16 x 16, 1 rounds" in printed and f" {count} threads" in printed
    for text in ("student step", "teacher", "distilled step", "term kd alone", "torchdistill"):
        assert text in printed
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["settings"] == dict(size=[16, 16], batch=3, rounds=1)
    assert report["config"] == str(config)
    code, _, errors = run_tool("benchmark", "distill", config, "--hmat-size", 64, 64)
    assert code == 1 and "hmat_size is for detectors only" in errors


def test_distill_says_which_packages_it_measures(tmp_path, run_tool):
    config = tmp_path / "embedder.py"
    config.write_text('custom_imports = dict(imports=["kd_retrieval"])', encoding="utf-8")
    code, _, errors = run_tool("benchmark", "distill", config)
    assert code == 1
    assert "distill measures configs of kd_det and kd_cls" in errors and "kd_retrieval" in errors


TINY_SET = Size(600, 16, 60, (1, 4, 100), 0.8)


def test_recall_prints_the_table_and_writes_json(tmp_path, run_tool):
    out = tmp_path / "report.json"
    with mock.patch.dict(SIZES, tiny=TINY_SET):
        code, printed, _ = run_tool(
            "benchmark", "recall", "--sizes", "tiny", "--rounds", 2, "--out", out
        )
    assert code == 0
    for text in ("tiny: 600 x 16, 60 classes", "faiss k=1", "pytorch-metric-learning", "agree"):
        assert text in printed
    found = json.loads(out.read_text(encoding="utf-8"))["sizes"]["tiny"]
    ours, theirs = (found["seconds"][name]["wall"] for name in ("kdkit", "faiss k=1"))
    median = found["ratio"]["kdkit"]["wall"]["median"]
    assert median == pytest.approx((ours[0] / theirs[0] + ours[1] / theirs[1]) / 2)
    assert 0.2 < found["recall"]["1"] < 0.9 < found["recall"]["100"]
    assert "faiss k=1" not in found["ratio"]


def test_an_unknown_size_is_named(run_tool):
    code, _, errors = run_tool("benchmark", "recall", "--sizes", "cub", "huge")
    assert code == 1
    assert "sizes must be of cub, sop128, sop512, 200k, 1m, but 'huge' is not" in errors


def test_results_that_differ_stop_the_benchmark():
    contest = RecallContest(TINY_SET, torch.device("cpu"))
    for action in contest.actions().values():
        action()
    contest.check_agreement()
    found = dict(contest.found)
    contest.found["pytorch-metric-learning"] -= 0.01
    with pytest.raises(ValueError, match="R@1 must agree"):
        contest.check_agreement()
    contest.found = found | {"kdkit without bfloat16": dataclasses.replace(
        found["kdkit"], optimistic={1: 1.0})}  # fmt: skip
    with pytest.raises(ValueError, match="results must agree"):
        contest.check_agreement()
    contest.found = found
    found["kdkit"].found_at[77] += 1
    with pytest.raises(ValueError, match="backends must agree, but at query 77"):
        contest.check_agreement()


def test_synthetic_embeddings_have_the_shape_of_their_set():
    rows, labels = synthetic(TINY_SET)
    assert rows.shape == (600, 16) and labels.shape == (600,)
    assert torch.allclose(rows.norm(dim=1), torch.ones(600))
    assert labels.unique(return_counts=True)[1].min() >= 2 and len(labels.unique()) == 60
    assert torch.equal(rows, synthetic(TINY_SET)[0])
    for name, size in SIZES.items():
        assert 2 * size.classes < size.rows, name


def test_resident_memory_counts_all_that_a_process_takes():
    taken = resident_peak_bytes(lambda: [np.ones(10_000_000), torch.ones(2_500_000)])
    if taken is None:
        pytest.skip("takes Linux")
    assert 90e6 - 1e6 < taken < 90e6 + 10e6
    assert resident_peak_bytes(lambda: None) < 10e6


def test_peak_is_that_of_the_tensors_alive_together():
    def action():
        first = torch.zeros(1000, 1000)  # 4 MB
        del first
        torch.zeros(2000, 1000) + torch.zeros(2000, 1000)  # three of 8 MB

    assert peak_bytes(action, torch.device("cpu")) == 24_000_000


def test_interleave_runs_all_of_them_in_changing_order():
    seen = []
    actions = {name: (lambda name=name: seen.append(name)) for name in "abc"}
    times = interleave(actions, 6, torch.device("cpu"))
    orders = {tuple(seen[start : start + 3]) for start in range(0, 18, 3)}
    assert len(seen) == 18 and len(orders) == 6
    assert all(len(times[name][clock]) == 6 for name in "abc" for clock in ("wall", "cpu"))


def test_many_actions_run_in_changing_order_too():
    seen = []
    names = "abcdefghijkl"
    actions = {name: (lambda name=name: seen.append(name)) for name in names}
    interleave(actions, 3, torch.device("cpu"))
    orders = ["".join(seen[start : start + 12]) for start in (0, 12, 24)]
    assert len(set(orders)) == 3 and all(sorted(order) == list(names) for order in orders)


def test_ratios_are_those_of_each_round():
    assert ratios([3.0, 8.0], [1.0, 2.0], [1.0, 2.0]) == [1.5, 2.0]


def test_spread():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == dict(median=3.0, q1=2.0, q3=4.0, min=1.0, max=5.0)
    assert spread([2.0]) == dict(median=2.0, q1=2.0, q3=2.0, min=2.0, max=2.0)
