"""A plain training stops at a loss that is not finite, before its weights are saved."""

import mmengine.runner.runner
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from kd_engine.run.finite_loss import FiniteLossHook


class Toy(BaseModel):
    """Its losses are 1, but for what happens at one call."""

    def __init__(self, at, value):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls, self.at, self.value = -1, at, value

    def forward(self, *inputs, mode="loss"):
        self.calls += 1
        factor = self.value if self.calls == self.at else 1.0
        return {
            "loss_good": self.weight.square(),
            "loss_bad": [self.weight * factor, self.weight],
            "accuracy": torch.tensor(float("nan")),
        }


def train(folder, monkeypatch, at, value, **settings):
    monkeypatch.setattr(mmengine.runner.runner, "collect_env", dict)  # it starts compilers
    runner = Runner(
        model=Toy(at, value),
        work_dir=str(folder),
        train_dataloader=dict(dataset=[torch.zeros(1)] * 8, batch_size=2,
                              sampler=dict(type="DefaultSampler", shuffle=False)),
        train_cfg=dict(by_epoch=False, max_iters=4),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1)),
        log_processor=dict(by_epoch=False),
        log_level="ERROR",
        experiment_name=f"finite_{folder.name}",
        **settings,
    )  # fmt: skip
    runner.register_hook(FiniteLossHook())
    runner.train()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_names_the_loss_and_the_iteration_and_nothing_is_saved(tmp_path, monkeypatch, value):
    with pytest.raises(FloatingPointError, match=f"at iteration 2 loss_bad is {value}\\. Lower"):
        train(tmp_path, monkeypatch, 2, value)
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["iter_1.pth", "iter_2.pth"]


def test_what_is_finite_trains_to_the_end(tmp_path, monkeypatch):
    train(tmp_path, monkeypatch, -9, 1.0)
    assert (tmp_path / "iter_4.pth").is_file()
