"""Inheriting in a run: after all other initial weights, once, in every kind of loop."""

import copy

import mmengine.runner.runner
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

import kd_engine.weights.inherit
from kd_core import Distiller, Term
from kd_engine.weights.checkpoint import use_safe_checkpoints
from kd_engine.weights.inherit import inherit_at_start, inherit_later
from kd_engine.weights.initial import (
    check_inherit,
    load_initial_weights,
    start_from_initial_weights,
)


class Net(BaseModel):
    """Model that draws its weights anew when training starts, as mmdet's do."""

    def __init__(self, width=2, value=None):
        super().__init__()
        self.body, self.head = nn.Linear(3, width), nn.Linear(4, 4)
        self.out = nn.Linear(width, 1)
        if value is not None:
            for parameter in self.parameters():
                nn.init.constant_(parameter, value)

    def init_weights(self):
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, inputs, mode="loss"):
        return {"loss": self.out(self.body(inputs)).square().mean() + self.head.bias.sum() * 0}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    use_safe_checkpoints()
    monkeypatch.setattr(mmengine.runner.runner, "collect_env", dict)


def distilled(inherit=("head",), **options):
    torch.manual_seed(0)
    student, teacher = Net(), Net(value=7.0)
    distiller = Distiller(teacher, {"imitation": Term(nn.MSELoss(), "body")}, **options)
    distiller.attach(student)
    if inherit:
        inherit_later(distiller, student, inherit)
    return student


def is_inherited(model):
    return all(bool((p == 7).all()) for p in model.head.parameters())


def runner(model, folder, iterations=1, **settings):
    return Runner(
        model=model,
        work_dir=str(folder),
        train_dataloader=DataLoader([dict(inputs=torch.ones(3))] * 8, batch_size=2),
        train_cfg=dict(by_epoch=False, max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.5)),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1)),
        custom_hooks=[dict(type="EMAHook", ema_type="ExponentialMovingAverage")],
        default_scope="mmengine",
        randomness=dict(seed=0),
        log_level="ERROR",
        experiment_name=f"{folder.name}_{id(model)}",
        **settings,
    )


def train(model, folder, ours=True, iterations=1, **settings):
    made = runner(model, folder, iterations, **settings)
    if ours:
        start_from_initial_weights(made, Config(settings))
    made.train()
    return model


@pytest.mark.parametrize("ours", [True, False], ids=["kdkit's run", "mmengine's alone"])
def test_it_comes_after_init_weights_and_trains_on(tmp_path, ours):
    model = train(distilled(), tmp_path, ours)
    assert is_inherited(model)  # whose gradient is 0
    plain = train(distilled(inherit=()), tmp_path / "plain", ours)
    assert not is_inherited(plain)
    assert torch.equal(model.body.weight, plain.body.weight)  # no random number is drawn


def test_the_averaged_model_starts_with_it(tmp_path):
    train(distilled(), tmp_path)
    saved = torch.load(tmp_path / "iter_1.pth", weights_only=False)
    assert (saved["state_dict"]["head.weight"] == 7).all()  # EMA's
    assert (saved["ema_state_dict"]["module.head.weight"] == 7).all()


@pytest.mark.parametrize("ours", [True, False], ids=["kdkit's run", "mmengine's alone"])
def test_it_comes_after_load_from(tmp_path, ours):
    torch.save({"state_dict": Net(value=5.0).state_dict()}, tmp_path / "a.pth")
    model = distilled()
    made = runner(model, tmp_path, load_from=str(tmp_path / "a.pth"))
    if ours:
        start_from_initial_weights(made, Config(dict(load_from=str(tmp_path / "a.pth"))))
    seen = []
    model.body.register_forward_pre_hook(lambda body, _: seen.append(body.weight.clone()))
    made.train()
    assert (seen[0] == 5).all()
    assert is_inherited(model)


@pytest.mark.parametrize("ours", [True, False], ids=["kdkit's run", "mmengine's alone"])
def test_a_run_that_resumes_keeps_what_it_has_learned(tmp_path, ours):
    train(distilled(), tmp_path, ours)
    saved = torch.load(tmp_path / "iter_1.pth", weights_only=False)
    for state in (saved["state_dict"], saved["ema_state_dict"]):
        state.update({key: torch.full_like(v, 3) for key, v in state.items() if "head." in key})
    torch.save(saved, tmp_path / "iter_1.pth")
    again = dict(load_from=str(tmp_path / "iter_1.pth"), resume=True)
    model = train(distilled(), tmp_path, ours, iterations=2, **again)
    assert (model.head.weight == 3).all()


class Seen(Hook):
    """Notes whether the model has inherited when the first iteration begins."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.inherited = is_inherited(runner.model)


def test_our_run_inherits_before_its_first_step(tmp_path):
    made, seen = runner(distilled(), tmp_path), Seen()
    start_from_initial_weights(made, Config())
    made.register_hook(seen)
    made.train()
    assert seen.inherited


def test_what_was_inherited_at_the_start_is_not_again_at_the_first_step():
    model = distilled()
    inherit_at_start(model)
    nn.init.zeros_(model.head.weight)
    model.train()(torch.ones(2, 3))
    assert (model.head.weight == 0).all()


def test_a_loop_of_ones_own_inherits_once_at_its_first_step():
    model = distilled()
    model.init_weights()
    model.eval()(torch.ones(2, 3))
    assert not is_inherited(model)
    averaged = copy.deepcopy(model)
    model.train()(torch.ones(2, 3))
    assert is_inherited(model)
    assert not is_inherited(averaged)
    nn.init.zeros_(model.head.weight)
    model(torch.ones(2, 3))
    assert not is_inherited(model)
    averaged.train()(torch.ones(2, 3))
    assert is_inherited(averaged)


def test_a_student_that_is_detached_first_is_a_plain_one():
    model = distilled()
    model.distiller.detach()
    model.train()(torch.ones(2, 3))
    assert not is_inherited(model) and not model._forward_pre_hooks


def test_check_says_it():
    model = distilled()
    assert load_initial_weights(model, Config()) == ["head (2 tensors) of the teacher"]
    assert is_inherited(model)


def test_what_does_not_fit_is_refused_when_the_model_is_built():
    with pytest.raises(ValueError, match="no layer 'heads'. Nearest names: head"):
        distilled(inherit=["heads"])


def test_all_processes_start_with_the_first_one_s_weights(monkeypatch):
    monkeypatch.setattr(kd_engine.weights.inherit, "broadcast", lambda value: value.fill_(1))
    plain, model = distilled(inherit=()), distilled()
    inherit_at_start(plain)
    assert not (plain.head.weight == 1).any()
    inherit_at_start(model)
    assert all((value == 1).all() for value in model.state_dict().values())


def distilled_config(teacher, inherit, **model):
    MODELS.register_module(name="InheritNet", module=Net, force=True)
    student = dict(type="InheritNet")
    teacher = dict(config=dict(type="InheritNet", **teacher), checkpoint="none.pth")
    model = dict(student=student, inherit=inherit, **(model or dict(teacher=teacher)))
    return Config(dict(model=model, default_scope="mmengine"))


def test_a_check_before_the_teacher_exists():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    check_inherit(distilled_config(dict(width=5), ["head"]))
    assert torch.equal(torch.rand(1), expected)
    with pytest.raises(ValueError, match="body: 2 features against the teacher's 5"):
        check_inherit(distilled_config(dict(width=5), ["body"]))
    large = dict(config=dict(type="InheritNet", width=5), checkpoint=None)
    with pytest.raises(ValueError, match="body: 2 features against the teacher large's 5"):
        teachers = dict(small=large, large=large)
        check_inherit(
            distilled_config({}, dict(modules="body", teacher="large"), teachers=teachers)
        )
    check_inherit(Config(dict(model=dict(type="InheritNet"))))
