"""Mistakes in a config: check and train end in the same sentence, which names the mistake."""

import re

import pytest

LOSS = "kd_core.losses.AttentionTransferLoss"
TERM = "model = dict(terms=dict(at=dict({})))"
DATA = "train_dataloader = dict(dataset=dict({}))"
CASES = {
    "loss type": (
        TERM.format(f"loss=dict(type={LOSS.replace('fer', 'fr')!r})"),
        rf"type '.*TransfrLoss' is none of kd_core.losses. Nearest names: {LOSS}",
    ),
    "student's setting": (
        "model = dict(student=dict(backbone=dict(dept=18)))",
        "ResNet has no setting 'dept'. Nearest names: depth",
    ),
    "student's type": (
        'model = dict(student=dict(backbone=dict(type="ResNett")))',
        "type 'ResNett' is not known as a model. Nearest names: ResNet",
    ),
    "student": (
        "model = dict(student=None)",
        "student must be a model config, a dict, but it is None",
    ),
    "model's setting": (
        "model = dict(termz=dict())",
        "DistilledDetector has no setting 'termz'. Nearest names: terms",
    ),
    "loss weight": (
        TERM.format('loss=dict(loss_weight="abc")'),
        "term 'at': loss_weight must be a number, but it is 'abc'",
    ),
    "term's weight": (
        TERM.format('weight="abc"'),
        "term 'at': weight must be a number or 'auto', but it is 'abc'",
    ),
    "layers": (TERM.format("layers=5"), "term 'at': layers must be a name .* but got 5"),
    "schedule's setting": (
        TERM.format('schedule=dict(type="kd_core.schedules.Stop", att=3)'),
        "term 'at': Stop has no setting 'att'. Nearest names: at",
    ),
    "teacher's config": (
        'model = dict(teacher=dict(config="none.py"))',
        r"there is no config file .*\bnone\.py\. Paths are relative",
    ),
    "classes": (
        DATA.format('metainfo=dict(classes="x")'),
        r"classes must be a tuple of names .* but 'x' is neither.*\('x',\)",
    ),
    "dataset's type": (
        DATA.format('type="CocoDatset"'),
        "train_dataloader.dataset: type 'CocoDatset' is not known as a dataset.*: CocoDataset",
    ),
    "dataset's setting": (
        DATA.format("anotation=1"),
        "train_dataloader.dataset: CocoDataset has no setting 'anotation'",
    ),
    "transform's type": (
        DATA.format('pipeline=[dict(type="LoadImageFromFil")]'),
        "dataset.pipeline.0: type 'LoadImageFromFil' is .*transform. Nearest.*LoadImageFromFile",
    ),
    "transform's setting": (
        DATA.format('pipeline=[dict(type="LoadImageFromFile", to_float=1)]'),
        "pipeline.0: LoadImageFromFile has no setting 'to_float'. Nearest names: to_float32",
    ),
    "sampler": (
        'train_dataloader = dict(sampler=dict(type="DefaultSampeler"))',
        "sampler: type 'DefaultSampeler' is not known as a data sampler.*: DefaultSampler",
    ),
    "batch size": (
        'train_dataloader = dict(batch_size="two")',
        "train_dataloader.batch_size must be a whole number from 1 on, but it is 'two'",
    ),
    "loader's setting": (
        "train_dataloader = dict(batch_sise=2)",
        "DataLoader has no setting 'batch_sise'",
    ),
    "no training": ("train_cfg = None", "must have .* to be trained, but it lacks train_cfg"),
    "optimizer's type": (
        'optim_wrapper = dict(optimizer=dict(type="SDG"))',
        "optim_wrapper.optimizer: type 'SDG' is not known as a optimizer. Nearest names: SGD",
    ),
    "optimizer's setting": (
        "optim_wrapper = dict(optimizer=dict(momentun=0.9))",
        "optim_wrapper.optimizer: SGD has no setting 'momentun'. Nearest names: momentum",
    ),
    "scheduler's type": (
        'param_scheduler = [dict(type="MultiStepLr", milestones=[1])]',
        "param_scheduler.0: type 'MultiStepLr' is not known as a parameter.*: MultiStepLR",
    ),
    "scheduler's setting": (
        'param_scheduler = [dict(type="MultiStepLR", milstones=[1])]',
        "param_scheduler.0: MultiStepLR has no setting 'milstones'. Nearest names: milestones",
    ),
    "hook's type": (
        'custom_hooks = [dict(type="EMAHok")]',
        "custom_hooks.0: type 'EMAHok' is not known as a hook. Nearest names: EMAHook",
    ),
    "checkpoint hook's setting": (  # found after the first epoch otherwise
        'default_hooks = dict(checkpoint=dict(type="CheckpointHook", intervall=1))',
        "default_hooks.checkpoint: CheckpointHook has no setting 'intervall'. Nearest.*interval",
    ),
    "loop's setting": (
        "train_cfg = dict(max_epoch=2)",
        "train_cfg: EpochBasedTrainLoop has no setting 'max_epoch'. Nearest names: max_epochs",
    ),
    "evaluator's type": (
        'test_evaluator = dict(type="CocoMetrik")',
        "test_evaluator: type 'CocoMetrik' is not known as a metric. Nearest names: CocoMetric",
    ),
    "randomness": ("randomness = dict(sed=0)", "randomness has no setting 'sed'. Nearest.*: seed"),
}


@pytest.mark.parametrize("name", CASES)
def test_check_and_train_name_the_mistake(place, run_tool, name, tmp_path):
    text, expected = CASES[name]
    config = place.variant("wrong.py", text)
    code, out, _ = run_tool("check", config)
    wrong = [line.removeprefix("wrong: ") for line in out.splitlines() if line[:6] == "wrong:"]
    assert code == 1
    assert re.search(expected, wrong[0]), wrong[0]
    code, _, err = run_tool("train", config, "--work-dir", tmp_path / "run")
    errors = [line.removeprefix("error: ") for line in err.splitlines() if line[:6] == "error:"]
    assert code == 1
    assert errors == wrong[:1]
    assert "Traceback" not in err and "traceback" not in err
