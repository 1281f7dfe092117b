"""Longer training: every schedule keeps its shape."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from kd_engine.compare.longer import longer

EPOCH_LENGTH = 10
SCHEDULES = [
    [dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
     dict(type="CosineAnnealingLR", T_max=8, eta_min=0.001, by_epoch=True, begin=0, end=8,
          convert_to_iter_based=True)],
    [dict(type="MultiStepLR", by_epoch=True, milestones=[4, 6], gamma=0.1)],
    [dict(type="StepLR", by_epoch=True, step_size=2, gamma=0.5)],
    [dict(type="PolyLR", power=0.9, begin=2, end=8, by_epoch=False)],
    [dict(type="ExponentialLR", gamma=0.7, by_epoch=True)],
    [dict(type="mmengine.optim.OneCycleLR", eta_max=0.2, total_steps=80, by_epoch=False)],
]  # fmt: skip


def rates(config, shares):
    """Return the learning rates at shares of a run, as mmengine's schedulers set them."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    wrapper = OptimWrapper(optimizer)
    built = []
    for settings in config.param_scheduler:
        settings = dict(settings)
        if settings.pop("convert_to_iter_based", False):
            kind = PARAM_SCHEDULERS.get(settings.pop("type"))
            built.append(kind.build_iter_from_epoch(
                optimizer=wrapper, epoch_length=EPOCH_LENGTH, **settings))  # fmt: skip
        else:
            built.append(PARAM_SCHEDULERS.build(dict(settings, optimizer=wrapper)))
    total = config.train_cfg.max_epochs * EPOCH_LENGTH
    found = []
    for iteration in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        for one in built:
            if not one.by_epoch or (iteration + 1) % EPOCH_LENGTH == 0:
                one.step()
    return [found[int(share * total)] for share in shares]


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one[0]["type"])
def test_the_rates_are_the_same_at_the_same_share_of_the_run(schedule):
    config = Config(dict(train_cfg=dict(max_epochs=8, val_interval=8), param_scheduler=schedule))
    made = longer(config, 2)
    assert made.train_cfg == dict(max_epochs=16, val_interval=16)
    shares = [0.0, 0.1, 0.3, 0.55, 0.8, 0.95]
    before, after = rates(config, shares), rates(made, shares)
    steps = schedule[0]["type"] == "ExponentialLR"  # once an epoch, of which there are more
    assert after == pytest.approx(before, rel=0.3 if steps else 0.06, abs=0.003)
    assert config.train_cfg.max_epochs == 8  # unchanged


def test_epochs_are_rounded_up_and_the_rest_follows():
    schedule = dict(type="StepLR", step_size=4, begin=0, end=1_000_000_000)
    config = Config(dict(
        train_cfg=dict(max_epochs=6, val_interval=1, dynamic_intervals=[(4, 1)]),
        param_scheduler=schedule,
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", interval=1)),
        custom_hooks=[dict(type="PipelineSwitchHook", switch_epoch=4, stage="a")],
    ))  # fmt: skip
    made = longer(config, 1.4)
    assert made.train_cfg == dict(max_epochs=9, val_interval=2, dynamic_intervals=[[6, 2]])
    assert made.param_scheduler == dict(schedule, step_size=6)
    assert made.custom_hooks[0].switch_epoch == 6
    assert longer(config, 1.0).to_dict() == dict(
        config.to_dict(), train_cfg=dict(config.train_cfg, dynamic_intervals=[[4, 1]]))  # fmt: skip


def test_iterations_are_stretched_too():
    made = longer(Config(dict(train_cfg=dict(type="IterBasedTrainLoop", max_iters=90_000))), 1.5)
    assert made.train_cfg.max_iters == 135_000


@pytest.mark.parametrize(
    ("settings", "factor", "said"),
    [(dict(train_cfg=dict(type="Own")), 2, "neither max_epochs nor max_iters"),
     (dict(train_cfg=dict(max_epochs=2), param_scheduler=[dict(type="Own")]), 2, "'Own', whose"),
     (dict(train_cfg=dict(max_epochs=2)), 0, "a factor above 0")],
)  # fmt: skip
def test_what_cannot_be_stretched_is_refused(settings, factor, said):
    with pytest.raises(ValueError, match=said):
        longer(Config(settings), factor)
