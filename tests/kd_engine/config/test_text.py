"""Text of a config as plain values, and the differences between two."""

import pytest
from mmengine.config import Config

from kd_engine.config.changes import change_table, changes_between
from kd_engine.config.text import Expression, parse_config_text, texts_in

PLAIN = dict(
    model=dict(
        type="a.B", depth=18, lr=-1e-05, flags=[True, None], strides=(1, (2, 3)), empty={}, none=[],
        weights={"0-1": 2, "b c": dict(x=[dict(y=1), dict(y=2)])}, text="it's \n \"x\" \\ é",
    ),
    param_scheduler=[dict(type="LinearLR", by_epoch=False), dict(type="StepLR", gamma=0.1)],
    train_cfg=dict(by_epoch=True, max_epochs=12),
)  # fmt: skip


def listed(value):
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_it_reads_what_mmengine_writes():
    assert parse_config_text(Config(PLAIN).pretty_text) == listed(PLAIN)


def test_nothing_runs(tmp_path):
    trace = str(tmp_path / "trace")
    text = f"import os\nos.mkdir({trace!r})\na = os.mkdir({trace!r})\nb = [open({trace!r}, 'w')]\n"
    found = parse_config_text(text + "c = dict(d=lambda: 1, **e)\nf = 1 if g else 2\n")
    assert not (tmp_path / "trace").exists()
    assert found["a"] == f"os.mkdir({trace!r})" and isinstance(found["a"], Expression)
    assert isinstance(found["f"], Expression)


@pytest.mark.parametrize(
    "text", ["a = (", "a = \0", "[" * 10_000, "a = " + "-" * 100_000 + "1", "a" * 5_000_001]
)
def test_text_without_a_syntax_tree_is_none(text):
    assert parse_config_text(text) is None


def changed(**settings):
    config = Config(PLAIN)
    config.merge_from_dict(settings)
    before = parse_config_text(Config(PLAIN).pretty_text)
    return changes_between(before, parse_config_text(config.pretty_text))


def test_equal_configs_have_no_changes():
    assert changed() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("work_dir", "x"), ("train_dataloader", None), ("log_level", "INFO"), ("launcher", "slurm"),
        ("test_evaluator", dict(type="x")), ("resume", True), ("data_root", "elsewhere"),
        ("default_hooks.logger", dict(interval=3)), ("model.init_cfg", dict(type="Pretrained")),
        ("model.inherit", dict(modules=["neck"])),
        ("default_hooks.checkpoint", dict(max_keep_ckpts=3)),
    ],
)  # fmt: skip
def test_what_does_not_matter_is_silent(key, value):
    assert changed(**{key: value}) == []


def test_each_setting_is_one_line():
    found = changed(**{"model.depth": 50, "train_cfg.max_epochs": 24, "model.new": dict(a=1)})
    assert change_table(found).splitlines() == [
        "  model.depth: 18 -> 50",
        "  model.new: (absent) -> {'a': 1}",
        "  train_cfg.max_epochs: 12 -> 24"
        "  (schedules without an end of their own still end at the old one)",
    ]
    assert not any(change.is_refused for change in found)


def test_what_the_saved_state_overrides_is_said():
    (change,) = changed(**{"param_scheduler.1.gamma": 0.5})
    assert str(change) == (
        "param_scheduler.1.gamma: 0.1 -> 0.5  (no effect: the checkpoint's value holds)"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_cfg.by_epoch", False),
        ("param_scheduler.1.type", "CosineAnnealingLR"),
        ("param_scheduler", [dict(type="LinearLR", by_epoch=False)]),
        ("param_scheduler", None),
    ],
)
def test_what_cannot_resume_is_refused(key, value):
    assert any(change.is_refused for change in changed(**{key: value}))


def test_another_optimizer_is_refused():
    settings = [{"optim_wrapper": {"optimizer": {"type": kind}}} for kind in ("SGD", "Adam")]
    (change,) = changes_between(*settings)
    assert change.is_refused and str(change) == "optim_wrapper.optimizer.type: 'SGD' -> 'Adam'"


def test_a_long_table_is_cut():
    before, after = ({"model": {f"k{i}": value for i in range(50)}} for value in (1, 2))
    assert change_table(changes_between(before, after)).splitlines()[-1] == "  ... and 30 more"


def test_texts_in_a_config():
    content = {"a": "one", "b": ["two", ("three", 4)], "c": {"d": None, "e": "five"}, "f": 5}
    assert list(texts_in(content)) == ["one", "two", "three", "five"]
    assert list(texts_in(5)) == []
