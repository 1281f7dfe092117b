"""kd_engine.run.report: how far a run is, and its last line."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook

from kd_engine import terminal
from kd_engine.run import report as run_report
from kd_engine.run.report import RunReportHook

EpochBasedTrainLoop = type("EpochBasedTrainLoop", (), {})
IterBasedTrainLoop = type("IterBasedTrainLoop", (), {})


def fake(folder, kind=EpochBasedTrainLoop, hooks=(), **values):
    """The parts of a runner that the hook reads."""
    settings = dict(
        train_loop=kind(), epoch=0, iter=0, max_epochs=4, max_iters=12, hooks=list(hooks),
        work_dir=str(folder), train_dataloader=[0] * 3, cfg={}, dumped_config="",
        logger=SimpleNamespace(info=lambda text: None),
    )  # fmt: skip
    return SimpleNamespace(**{**settings, **values})


@pytest.fixture
def head(monkeypatch):
    monkeypatch.setattr(run_report, "_head", lambda runner: [])


def test_the_progress_of_a_long_epoch_has_the_rest_of_the_whole_run(tmp_path, monkeypatch, head):
    """4 of 12 iterations took 20 s, so the other 8 take 40 s."""
    now = [100.0]
    monkeypatch.setattr(run_report.time, "monotonic", lambda: now[0])
    hook, told = RunReportHook(), []
    monkeypatch.setattr(run_report, "set_status", told.append)
    hook.before_train(fake(tmp_path))
    now[0] = 120.0
    hook.after_train_iter(fake(tmp_path, epoch=1, iter=3), 0, outputs={"loss": 0.5})
    assert told[-1]() == "epoch 2 of 4, iteration 1 of 3, loss 0.5000, ETA 0:00:40"
    hook.after_train_iter(fake(tmp_path, IterBasedTrainLoop, iter=3), 3)
    assert told[-1]() == "iteration 4 of 12, ETA 0:00:40"


def test_the_loss_is_kept_without_its_graph(tmp_path, monkeypatch, head, recwarn):
    hook, told = RunReportHook(), []
    monkeypatch.setattr(run_report, "set_status", told.append)
    hook.before_train(fake(tmp_path))
    loss = torch.ones(1, requires_grad=True).sum()
    hook.after_train_iter(fake(tmp_path), 0, outputs={"loss": loss})
    kept = [cell.cell_contents for cell in told[-1].__closure__]
    assert not [one for one in kept if getattr(one, "requires_grad", False)]
    assert ", loss 1.0000, " in told[-1]() and not recwarn.list


def test_the_progress_of_a_validation(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(run_report, "set_status", told.append)
    runner = SimpleNamespace(val_dataloader=[0] * 2)
    RunReportHook().after_val_iter(runner, 0)
    RunReportHook().after_val_iter(runner, 1)
    assert told == ["validation: 1 of 2 batches", "validation: scoring"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "best a/mAP 0.4000 at epoch 2"),
        (dict(save_best="a/error", rule="less"), "best a/error 0.1000 at epoch 3"),
        (dict(save_best="a/error", rule="greater"), "best a/error 0.9000 at epoch 1"),
    ],
)
def test_the_best_score_follows_save_best(tmp_path, settings, said):
    hook, saving = RunReportHook(), CheckpointHook(**settings)
    saving.out_dir = str(tmp_path)
    rows = [(0.3, 0.9), (0.4, 0.5), (float("nan"), 0.1)]
    for epoch, (score, error) in enumerate(rows, 1):
        hook.after_val_epoch(fake(tmp_path, epoch=epoch), {"a/mAP": score, "a/error": error})
    line = hook.last_line(fake(tmp_path, epoch=3, hooks=[saving]))
    assert line == f"done: {said}; no checkpoint was saved"


def test_the_command_names_the_best_checkpoint_that_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hook, saving = RunReportHook(), CheckpointHook()
    saving.out_dir, saving.last_ckpt = str(tmp_path), str(tmp_path / "epoch_3.pth")
    for epoch, score in enumerate((0.9, 0.5, 0.1), 1):
        hook.after_val_epoch(fake(tmp_path, epoch=epoch), {"a/mAP": score})
    runner = fake(tmp_path, epoch=3, hooks=[saving], dumped_config="c.py")
    (tmp_path / "epoch_3.pth").touch()
    assert hook.last_line(runner).endswith("kdkit export c.py epoch_3.pth exported.pth")
    (tmp_path / "epoch_1.pth").touch()
    assert hook.last_line(runner).endswith("kdkit export c.py epoch_1.pth exported.pth")
    saving.best_ckpt_path = str(tmp_path / "best_a_mAP_epoch_1.pth")
    (tmp_path / "best_a_mAP_epoch_1.pth").touch()
    assert hook.last_line(runner).endswith("c.py best_a_mAP_epoch_1.pth exported.pth")


def test_a_resumed_run_knows_the_scores_before(tmp_path, head):
    log = tmp_path / "20260101_000000/vis_data/scalars.json"
    log.parent.mkdir(parents=True)
    rows = [{"loss": 1.0, "step": 3}, {"a/mAP": 0.7, "step": 1}, {"a/mAP": 0.9, "step": 2}]
    log.write_text("\n".join(map(json.dumps, rows)))
    hook = RunReportHook()
    hook.before_train(fake(tmp_path, epoch=1, iter=3))  # epoch 2 was not saved
    hook.after_val_epoch(fake(tmp_path, epoch=2), {"a/mAP": 0.6})
    assert "best a/mAP 0.7000 at epoch 1" in hook.last_line(fake(tmp_path, epoch=2))


def test_a_slow_iteration_is_told_by_the_terminal(capsys, tmp_path, head):
    with terminal.short_terminal("loading", quiet=60):
        hook = RunReportHook()
        hook.before_train(fake(tmp_path))
        assert terminal._open[-1]._status() == "waiting for the first batch"
        hook.after_train_iter(fake(tmp_path), 0)
        assert terminal._open[-1]._status().startswith("epoch 1 of 4, iteration 1 of 3, ETA ")
