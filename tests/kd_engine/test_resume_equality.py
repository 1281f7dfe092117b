"""A resumed run ends bit for bit where an unbroken one ends."""

import contextlib
import json
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.resume.start import read_start
from kd_engine.run.runner import Runner
from kd_engine.weights.checkpoint import ALLOWED, use_safe_checkpoints

RUN = runpy.run_path(str(Path(__file__).with_name("resume_run.py")))
config_of, BATCHES = RUN["config_of"], RUN["BATCHES"]
BY_ITERATION = dict(default_hooks__checkpoint__by_epoch=False)
LOOP = dict(
    train_dataloader__sampler__type="InfiniteSampler",
    param_scheduler=[dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=8)],
    **BY_ITERATION,
)


class Killed(Exception):
    pass


class Watch(Hook):
    """Keeps the batches of a run, and ends it before an iteration."""

    def __init__(self, end=None):
        self.batches, self.end = [], end

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.end:
            raise Killed
        self.batches.append(data_batch["inputs"])


@pytest.fixture(autouse=True)
def safe():
    use_safe_checkpoints()


def train(config, resume=None, end=None):
    start = read_start(config, resume)
    runner = Runner.from_cfg(config)
    start.register_hooks(runner)
    watch = Watch(end)
    runner.register_hook(watch)
    try:
        with pytest.raises(Killed) if end else contextlib.nullcontext():
            runner.train()
    finally:
        stop_workers(runner)
    return watch.batches


def stop_workers(runner):
    """End persistent workers now: those that the garbage collector ends make it wait."""
    loops = (runner.train_loop, runner.val_loop)
    holders = [getattr(runner.train_loop, "dataloader_iterator", None)]
    for holder in [*(loop.dataloader for loop in loops), *holders]:
        iterator = getattr(holder, "_iterator", None)
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


def loop_config(*args, **settings):
    config = config_of(*args, **settings, **LOOP)
    config.train_cfg = dict(by_epoch=False, max_iters=12, val_interval=6)
    return config


def check_equal(found, expected):
    found, expected = (read_checkpoint(path, ALLOWED) for path in (found, expected))
    for key in expected["state_dict"]:
        assert expected["state_dict"][key].isfinite().all()
        assert torch.equal(found["state_dict"][key], expected["state_dict"][key])
    for key, state in expected["optimizer"]["state"].items():
        momentum = found["optimizer"]["state"][key]["momentum_buffer"]
        assert torch.equal(momentum, state["momentum_buffer"])
    assert found["param_schedulers"] == expected["param_schedulers"]
    for key in ("epoch", "iter"):
        assert found["meta"][key] == expected["meta"][key]


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_at_the_end_of_an_epoch(tmp_path, workers, persistent):
    setting = dict(workers=workers, persistent=persistent)
    whole = train(config_of(tmp_path / "whole", **setting))
    train(config_of(tmp_path / "parts", **setting), end=2 * BATCHES + 1)
    rest = train(config_of(tmp_path / "parts", **setting), "auto")
    assert len(rest) == 2 * BATCHES
    for one, other in zip(rest, whole[2 * BATCHES :], strict=True):
        assert torch.equal(one, other)
    check_equal(tmp_path / "parts/epoch_4.pth", tmp_path / "whole/epoch_4.pth")


@pytest.mark.parametrize("iteration", [1, 4, 6, 11])  # 6 is the last of an epoch
def test_within_an_epoch(tmp_path, iteration):
    whole = train(config_of(tmp_path / "whole", **BY_ITERATION))
    first = str(tmp_path / f"whole/iter_{iteration}.pth")
    rest = train(config_of(tmp_path / "parts", **BY_ITERATION), first)
    assert len(rest) == len(whole) - iteration
    check_equal(tmp_path / "parts/iter_12.pth", tmp_path / "whole/iter_12.pth")


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, True)])
def test_of_an_iteration_based_loop(tmp_path, workers, persistent):
    setting = dict(workers=workers, persistent=persistent)
    whole = train(loop_config(tmp_path / "whole", **setting))
    train(loop_config(tmp_path / "parts", **setting), end=5)
    rest = train(loop_config(tmp_path / "parts", **setting), "auto")
    for one, other in zip(rest, whole[5:], strict=True):
        assert torch.equal(one, other)
    check_equal(tmp_path / "parts/iter_12.pth", tmp_path / "whole/iter_12.pth")


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_a_loop_that_has_begun_its_data_begins_anew(tmp_path, workers, persistent):
    """Upstream's iteration-based loop makes its iterator before there are hooks."""
    setting = dict(workers=workers, persistent=persistent)
    whole = train(loop_config(tmp_path / "whole", **setting))
    config = loop_config(tmp_path / "begun", **setting)
    runner, watch = Runner.from_cfg(config), Watch()
    read_start(config).register_hooks(runner)
    runner.register_hook(watch)
    loop = runner.train_loop
    loop.dataloader_iterator._iterator = iter(loop.dataloader)
    runner.train()
    stop_workers(runner)
    for one, other in zip(watch.batches, whole, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_no_epoch_repeats_the_augmentations_of_another(tmp_path, workers, persistent):
    batches = train(config_of(tmp_path, epochs=3, workers=workers, persistent=persistent))
    drawn = torch.cat(batches) % 1  # what the data adds to its index: (N, 3)
    assert len(drawn) == 3 * RUN["IMAGES"]
    assert len(drawn.unique(dim=0)) == len(drawn)
    assert len(drawn.flatten().round(decimals=4).unique()) > 0.95 * drawn.numel()


@pytest.mark.parametrize("make", [config_of, loop_config])
def test_the_number_of_workers_changes_nothing(tmp_path, make):
    found = [train(make(tmp_path / str(n), epochs=1, workers=n)) for n in (0, 1, 2)]
    for batches in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(batches, found[0], strict=True))


def test_another_seed_draws_others(tmp_path):
    one = train(config_of(tmp_path / "a", epochs=1))
    other = train(config_of(tmp_path / "b", epochs=1, randomness__seed=4))
    assert not torch.equal(torch.cat(one).sort().values, torch.cat(other).sort().values)


def test_a_run_keeps_its_seed(tmp_path):
    """Also one that mmengine has drawn, and against another in the config."""
    whole = train(config_of(tmp_path / "whole", randomness__seed=None))
    saved = str(tmp_path / "whole/epoch_2.pth")
    for seed in (None, 77):
        place = tmp_path / str(seed)
        rest = train(config_of(place, randomness__seed=seed), saved)
        assert all(torch.equal(*pair) for pair in zip(rest, whole[2 * BATCHES :], strict=True))
        check_equal(place / "epoch_4.pth", tmp_path / "whole/epoch_4.pth")


def test_the_losses_of_the_logs_go_on(tmp_path):
    train(config_of(tmp_path / "whole"))
    train(config_of(tmp_path / "parts"), end=2 * BATCHES)
    train(config_of(tmp_path / "parts"), "auto")
    rows = {}
    for name in ("whole", "parts"):
        files = sorted((tmp_path / name).glob("*/vis_data/scalars.json"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        rows[name] = [(row["step"], row["loss"]) for row in lines if "loss" in row]
    assert len(rows["whole"]) == 12 and rows["parts"] == rows["whole"]
