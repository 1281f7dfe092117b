"""The command line of the benchmarks."""

import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.recall.case import SIZES, Size

ROOT = Path(__file__).parents[2]

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
def benchmark(capsys):
    """Run the command in this process; returns exit code, output and error output."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def configs(tmp_path):
    student = tmp_path / "student.py"
    student.write_text(TINY, encoding="utf-8")
    distilled = tmp_path / "distilled.py"
    distilled.write_text(DISTILLED.format(teacher=str(student)), encoding="utf-8")
    return tmp_path


def test_distill_prints_the_table_and_writes_json(configs, benchmark):
    out = configs / "report.json"
    size = ["--size", 64, 64, "--hmat-size", 64, 96, "--rounds", 1]
    code, printed, _ = benchmark("distill", configs / "distilled.py", *size, "--out", out)
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


def test_a_plain_config_is_refused(configs, benchmark):
    code, _, errors = benchmark("distill", configs / "student.py")
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


def test_distill_measures_a_classifier_by_its_own_package(tmp_path, benchmark, threads):
    config, out = tmp_path / "kd.py", tmp_path / "report.json"
    config.write_text(CLASSIFIER, encoding="utf-8")
    options = ["--size", 16, 16, "--batch", 3, "--rounds", 1, "--out", out]
    count = torch.get_num_threads() + 1
    code, printed, _ = benchmark("distill", config, *options, "--threads", count)
    assert code == 0
    assert "3 images of 16 x 16, 1 rounds" in printed and f" {count} threads" in printed
    for text in ("student step", "teacher", "distilled step", "term kd alone", "torchdistill"):
        assert text in printed
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["settings"] == dict(size=[16, 16], batch=3, rounds=1)
    assert report["config"] == str(config)
    code, _, errors = benchmark("distill", config, "--hmat-size", 64, 64)
    assert code == 1 and "hmat_size is for detectors only" in errors


def test_distill_says_which_packages_it_measures(tmp_path, benchmark):
    config = tmp_path / "embedder.py"
    config.write_text('custom_imports = dict(imports=["kd_retrieval"])', encoding="utf-8")
    code, _, errors = benchmark("distill", config)
    assert code == 1
    assert "distill measures configs of kd_det and kd_cls" in errors and "kd_retrieval" in errors


TINY_SET = Size(600, 16, 60, (1, 4, 100), 0.8)


def test_recall_prints_the_table_and_writes_json(tmp_path, benchmark):
    out = tmp_path / "report.json"
    with mock.patch.dict(SIZES, tiny=TINY_SET):
        code, printed, _ = benchmark("recall", "--sizes", "tiny", "--rounds", 2, "--out", out)
    assert code == 0
    for text in ("tiny: 600 x 16, 60 classes", "faiss k=1", "pytorch-metric-learning", "agree"):
        assert text in printed
    found = json.loads(out.read_text(encoding="utf-8"))["sizes"]["tiny"]
    ours, theirs = (found["seconds"][name]["wall"] for name in ("kdkit", "faiss k=1"))
    median = found["ratio"]["kdkit"]["wall"]["median"]
    assert median == pytest.approx((ours[0] / theirs[0] + ours[1] / theirs[1]) / 2)
    assert 0.2 < found["recall"]["1"] < 0.9 < found["recall"]["100"]
    assert "faiss k=1" not in found["ratio"]


def test_face_measures_galleries_of_its_own(tmp_path, benchmark, monkeypatch):
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("KD_FACE_DATABASE", "mariadb://somebody/faces")
    out = tmp_path / "galleries.json"
    command = ["face", "--pictures", 25, 60, "--out", out]
    code, _, error = benchmark(*command)
    assert code == 1 and "KD_FACE_DATABASE is set" in error
    monkeypatch.delenv("KD_FACE_DATABASE")
    code, printed, _ = benchmark(*command)
    assert code == 0
    galleries = json.loads(out.read_text())["galleries"]
    assert [one["rows"] for one in galleries] == [25, 60]
    assert all(min(one.values()) > 0 for one in galleries)
    assert "| 25 |" in printed and "| 60 |" in printed


def test_an_unknown_size_is_named(benchmark):
    code, _, errors = benchmark("recall", "--sizes", "cub", "huge")
    assert code == 1
    assert "sizes must be of tiny, cub, sop128, sop512, 200k, 1m, but 'huge' is not" in errors


@pytest.mark.parametrize("command", [["-m", "benchmarks"], [str(ROOT / "tools/benchmark.py")]])
def test_it_runs_from_a_checkout_by_itself_and_by_the_tool_from_anywhere(command, tmp_path):
    folder = ROOT if command[0] == "-m" else tmp_path
    found = subprocess.run(
        [sys.executable, *command, "recall", "--sizes", "huge"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 1 and "sizes must be of tiny, cub" in found.stderr


@pytest.mark.slow
def test_gpu_measures_all_of_it_on_a_cpu(configs, benchmark):
    out = configs / "gpu.jsonl"
    command = ["gpu", "--tiny", "--device", "cpu", "--config", configs / "distilled.py"]
    code, printed, errors = benchmark(*command, "--out", out)
    assert code == 0, errors
    found = {one["what"]: one["result"] for one in map(json.loads, out.open(encoding="utf-8"))}
    assert not [name for name, result in found.items() if "error" in result]
    assert found["recall tiny"]["same"]
    assert found["step bfloat16"]["terms_seconds"].keys() == {"hmat", "asckd"}
    for name in ("training", "torchrun"):
        assert found[name]["images_per_second"] > 0 and 0 <= found[name]["loader_share"] < 1
    assert found["memory batch 2"]["distilled"] > found["memory batch 2"]["student"] > 0
    assert list(found)[0] == "recall tiny" and list(found)[-1] == "profile"
    assert "profile [" in printed


@pytest.mark.parametrize("command", [["distill"], ["recall"], ["gpu", "--out", "none.jsonl"]])
def test_a_wrong_device_stops_it_before_anything_is_measured(command, benchmark, monkeypatch):
    monkeypatch.setattr("benchmarks.__main__.load_run_config", None)  # which would fail otherwise
    code, _, errors = benchmark(*command, "--device", "nonsense")
    assert code == 1
    said = "a device must be cpu, cuda or cuda:N, but it is 'nonsense'. Take one of these names."
    assert said in " ".join(errors.split())
    assert not Path("none.jsonl").exists()
