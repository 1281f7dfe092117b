"""Checkpoints that a schedule leaves behind are known in advance."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_engine.work_dir.checkpoint_plan import checkpoint_plan


def config(epochs=6, loop=None, hooks=None, **hook):
    written = dict(checkpoint=dict(type="CheckpointHook", **hook)) if hook else {}
    return Config(
        dict(
            train_cfg=loop or dict(by_epoch=True, max_epochs=epochs),
            default_hooks=hooks if hooks is not None else written,
        )
    )


@pytest.mark.parametrize(
    ("hook", "numbers"),
    [
        ({}, (1, 2, 3, 4, 5, 6)),  # mmengine's default: each epoch
        (dict(interval=1), (1, 2, 3, 4, 5, 6)),
        (dict(interval=4), (4, 6)),
        (dict(interval=4, save_last=False), (4,)),
        (dict(interval=1, max_keep_ckpts=2), (5, 6)),
        (dict(interval=4, max_keep_ckpts=3), (4, 6)),
        (dict(interval=2, save_begin=3), (3, 5, 6)),
        (dict(interval=-1), (6,)),
        (dict(interval=-1, save_last=False), ()),
    ],
)
def test_epochs(hook, numbers):
    plan = checkpoint_plan(config(**hook))
    assert plan.numbers == numbers and plan.template == "epoch_{}.pth"
    assert [n for n in range(20) if plan.will_leave(f"epoch_{n}.pth")] == list(numbers)
    assert plan.last == (f"epoch_{numbers[-1]}.pth" if numbers else None)
    assert not plan.will_leave("iter_6.pth") and not plan.will_leave("epoch_6.pth.bak")
    assert plan.writes_any == bool(numbers)


@pytest.mark.parametrize(
    ("loop", "hook", "name", "numbers"),
    [
        (dict(type="IterBasedTrainLoop", max_iters=10), dict(by_epoch=False, interval=4),
         "iter_{}.pth", (4, 8, 10)),
        (dict(by_epoch=False, max_iters=10), dict(by_epoch=False, interval=5),
         "iter_{}.pth", (5, 10)),
        (dict(by_epoch=False, max_iters=10), dict(interval=5), "epoch_{}.pth", (1,)),
        (dict(type="EpochBasedTrainLoop", max_epochs=2), dict(by_epoch=False, interval=5),
         "iter_{}.pth", None),
        (dict(type="MyLoop", max_epochs=2), dict(interval=5), "epoch_{}.pth", None),
    ],
)  # fmt: skip
def test_loops(loop, hook, name, numbers):
    plan = checkpoint_plan(config(loop=loop, **hook))
    assert (plan.template, plan.numbers) == (name, numbers)
    assert plan.writes_any
    if numbers is None:
        assert plan.will_leave(name.format(77)) and plan.last is None


def test_names_and_folders():
    plan = checkpoint_plan(config(interval=3, filename_tmpl="net-{}.pt", out_dir="big"))
    assert plan.will_leave("net-3.pt") and not plan.will_leave("epoch_3.pth")
    assert plan.last == "net-6.pt" and plan.number_of("net-12.pt") == 12
    assert plan.folder(Path("work_dirs/a/teacher")) == Path("big/teacher")
    assert checkpoint_plan(config()).folder(Path("a")) == Path("a")


def test_the_name_of_the_best_is_not_known_before():
    plan = checkpoint_plan(config(interval=-1, save_last=False, save_best="acc"))
    assert plan.best == ("acc",) and plan.writes_any
    assert not plan.will_leave("best_acc_epoch_3.pth")
    assert checkpoint_plan(config(interval=1, save_best=["a", "b"])).best == ("a", "b")


def test_without_a_hook_nothing_is_written():
    plan = checkpoint_plan(config(hooks=dict(checkpoint=None)))
    assert not plan.writes_any and plan.numbers == ()


def test_what_is_not_mmengines_is_not_judged():
    assert checkpoint_plan(config(hooks=dict(checkpoint=dict(type="MyCheckpointHook")))) is None
    assert checkpoint_plan(config(interval=1, out_dir="s3://bucket")) is None
    twice = config(interval=1)
    twice.custom_hooks = [dict(type="CheckpointHook", by_epoch=False, interval=5)]
    assert checkpoint_plan(twice) is None
