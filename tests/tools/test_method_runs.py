"""The tools on the methods of several networks: a short run of each, resumed, tested, exported."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import kd_cls  # noqa: F401
from kd_engine.config.paths import shown_path

from .classification_run import ALONE, CLS, TEACHER, short, state_of
from .conftest import run_command

METHODS = "ctkd ccskd mskd_ssr ckd_mkt dml byot one ema_self adversarial".split()
CONFIGS = {name: CLS / f"{name}.py" for name in METHODS}
HEADS = CLS / "heads.py"


@pytest.fixture(scope="module")
def first_phases(classification, tmp_path_factory):
    """Options that name trained networks for every method."""
    folder = tmp_path_factory.mktemp("phases")
    teacher = classification.teacher / "epoch_1.pth"
    phase = [f"model.pretrained.config={TEACHER}", f"model.pretrained.checkpoint={teacher}"]
    assert run_command("train", HEADS, *short(folder / "heads", *phase)) == 0
    assert run_command("train", ALONE, *short(folder / "alone")) == 0
    named = list(classification.named)
    heads = [f"model.teacher.config={HEADS}",
             f"model.teacher.checkpoint={folder / 'heads/epoch_1.pth'}"]  # fmt: skip
    peers = [f"model.pretrained.config={ALONE}",
             f"model.pretrained.checkpoint={folder / 'alone/epoch_1.pth'}",
             f"model.peers.0.config={TEACHER}", f"model.peers.0.checkpoint={teacher}"]  # fmt: skip
    alone = dict.fromkeys(["dml", "byot", "one", "ema_self"], [])
    return dict(ctkd=named, ccskd=named, mskd_ssr=heads, ckd_mkt=peers, adversarial=named, **alone)


@pytest.mark.slow
@pytest.mark.parametrize("method", CONFIGS)
def test_a_resumed_run_is_the_uninterrupted_one_and_exports_the_student(
    first_phases, run_tool, tmp_path, method
):
    config = CONFIGS[method]
    fixed = (*first_phases[method], "train_dataloader.dataset.transforms=[]")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    code, _, error = run_tool("train", config, *short(whole, *fixed, epochs=2))
    assert code == 0, error
    assert run_tool("train", config, *short(halves, *fixed))[0] == 0
    code, _, error = run_tool("train", config, "--resume", *short(halves, *fixed, epochs=2))
    assert code == 0, error
    first, second = (state_of(run / "epoch_2.pth") for run in (whole, halves))
    assert first.keys() == second.keys() and first["distiller.iteration"] == 6
    assert all(torch.equal(value, second[key]) for key, value in first.items())

    lost = [f"{option.split('=')[0]}=lost.pth" for option in first_phases[method]
            if "checkpoint=" in option]  # fmt: skip
    lost = ["--cfg-options", *lost] if lost else []  # nothing else is needed for the student
    code, text, error = run_tool(
        "export", config, whole / "epoch_2.pth", tmp_path / "student.pth", *lost
    )
    assert code == 0, error
    exported = state_of(tmp_path / "student.pth")
    alone = MODELS.build(Config.fromfile(ALONE).model)
    alone.load_state_dict(exported, strict=True)
    assert Config.fromfile(tmp_path / "student.py").model.type == "kd_cls.Classifier"
    code, text, error = run_tool("test", tmp_path / "student.py", tmp_path / "student.pth",
                                 "--work-dir", tmp_path / "test")  # fmt: skip
    assert code == 0 and re.search(r"cls/top1 +\d", text), error


@pytest.mark.parametrize("method", ["ctkd", "mskd_ssr", "ckd_mkt"])
def test_check_shows_the_networks(first_phases, run_tool, method):
    code, text, _ = run_tool("check", CONFIGS[method], "--cfg-options", *first_phases[method])
    assert code == 0, text
    shown = {"ctkd": "the scratch teacher", "mskd_ssr": "the teacher", "ckd_mkt": "peer 1"}
    assert re.search(rf"^{shown[method]}.* [\d,]+ parameters, (trained|frozen)$", text, re.M)
    assert "everything is ok" in text


def test_a_wrong_order_of_phases_is_named(first_phases, classification, run_tool, tmp_path):
    options = [one for one in first_phases["ckd_mkt"] if "pretrained.checkpoint" not in one]
    lost = tmp_path / "never.pth"
    code, _, error = run_tool("train", CONFIGS["ckd_mkt"], *short(
        tmp_path / "run", *options, f"model.pretrained.checkpoint={lost}"))  # fmt: skip
    assert code == 1 and "pretrained is trained before this, but its checkpoint" in error
    assert f"kdkit train {shown_path(str(ALONE))}" in error and "--with-teacher" in error

    plain = [f"model.teacher.config={HEADS}",
             f"model.teacher.checkpoint={classification.teacher / 'epoch_1.pth'}"]  # fmt: skip
    code, _, error = run_tool("train", CONFIGS["mskd_ssr"], *short(tmp_path / "run", *plain))
    assert code == 1 and "heads are trained before the student" in error
    assert not list((tmp_path / "run").glob("*.pth"))


def test_a_peer_that_diverges_is_named(run_tool, tmp_path):
    rate = "optim_wrapper.paramwise_cfg.custom_keys.distiller.lr_mult=1e30"
    code, _, error = run_tool("train", CONFIGS["dml"], *short(tmp_path / "run", rate, epochs=2))
    assert code == 1
    assert re.search(
        r"every network must converge, but at iteration \d+ peer 1 \(resnet20\)", error
    )
    assert "Lower its learning rate" in error
