"""Schedules in epochs and shares, in runs that go through, stop and resume."""

import contextlib
import runpy
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from torch import nn

from kd_core import Distiller, FrozenTeacher, Term
from kd_core.losses import FeatureImitationLoss
from kd_core.schedules import Stop
from kd_engine.resume.start import read_start
from kd_engine.run.run_length import planned_iterations
from kd_engine.run.runner import Runner
from kd_engine.weights.checkpoint import use_safe_checkpoints

RUN = runpy.run_path(str(Path(__file__).parents[1] / "resume_run.py"))
SCHEDULES = dict(
    middle=Stop(at=0.5, unit="share"), three=Stop(at=3, unit="epoch"), ten=Stop(at=10), all=()
)


@MODELS.register_module(force=True)
class DistilledNet(RUN["ResumedNet"]):
    def __init__(self):
        super().__init__()
        self.layers[1] = nn.Identity()
        teacher = nn.Sequential(nn.Linear(3, 5))
        frozen = FrozenTeacher(teacher, lambda model, inputs, **_: model(inputs))
        terms = {
            name: Term(FeatureImitationLoss(), "layers.0", "0", schedule=schedule)
            for name, schedule in SCHEDULES.items()
        }
        Distiller(frozen, terms).attach(self)


class Watch(Hook):
    """Keeps the names of the terms of each iteration, and ends a run before one."""

    def __init__(self, end):
        self.terms, self.end = [], end

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.end:
            raise KeyboardInterrupt
        self.terms.append(set(runner.model.distiller.active_terms()))


def train(folder, resume=None, end=None, train_cfg=None, **settings):
    use_safe_checkpoints()
    config = RUN["config_of"](folder, model__type="DistilledNet", **settings)
    config.train_cfg = train_cfg or config.train_cfg
    start = read_start(config, resume)
    runner = Runner.from_cfg(config)
    start.register_hooks(runner)
    watch = Watch(end)
    runner.register_hook(watch)
    with pytest.raises(KeyboardInterrupt) if end else contextlib.nullcontext():
        runner.train()
    return watch.terms


def expected(half):
    """Of 4 epochs of 3 iterations, and of 12 iterations."""
    ends = dict(middle=half, three=9, ten=10, all=99)
    return [{name for name, end in ends.items() if iteration < end} for iteration in range(12)]


def test_epochs_and_shares_of_a_run(tmp_path):
    assert train(tmp_path) == expected(6)


def test_shares_of_a_loop_of_iterations(tmp_path):
    loop = dict(by_epoch=False, max_iters=8, val_interval=8)
    settings = dict(train_dataloader__sampler__type="InfiniteSampler")
    assert train(tmp_path, train_cfg=loop, **settings) == expected(4)[:8]


def test_a_resumed_run_goes_on_in_the_schedule(tmp_path):
    assert train(tmp_path, end=5) == expected(6)[:5]
    assert train(tmp_path, "auto") == expected(6)[3:]


@pytest.mark.parametrize(
    "train_cfg, total",
    [(dict(max_epochs=4), 12), (dict(by_epoch=False, max_iters=8), 8), ({}, None)],
)
def test_what_a_config_plans(train_cfg, total):
    assert planned_iterations(train_cfg, [0] * 3) == total
