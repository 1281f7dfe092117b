"""Training by mmengine's Runner: a distilled model stays a plain one."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.model import convert_sync_batchnorm
from torch import nn


class Keep(Hook):
    """Keep what was logged, iteration by iteration."""

    def __init__(self):
        self.logged = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logged.append({name: value.item() for name, value in outputs.items()})


def weights(path):
    return torch.load(path, weights_only=False)["state_dict"]


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    different = [key for key in ours if not torch.equal(ours[key], theirs[key])]
    assert not different


def loads_into_plain(config, state):
    own = {key: value for key, value in state.items() if not key.startswith("distiller.")}
    assert own.keys() < state.keys()
    model = MODELS.build(ConfigDict(copy.deepcopy(config)))
    model.load_state_dict(own, strict=True)
    return model


def test_a_checkpoint_loads_into_plain_mmdet(tiny, tmp_path):
    tiny.runner(tiny.distilled(), tmp_path, 2).train()
    state = weights(tmp_path / "iter_2.pth")
    loads_into_plain(tiny.faster_rcnn(), state)
    ours = {key.split(".")[1] for key in state if key.startswith("distiller.")}
    assert ours == {"iteration", "connectors"}
    assert state["distiller.iteration"] == 2


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tiny, tmp_path):
    whole, first, second = (tmp_path / name for name in ("whole", "first", "second"))
    straight, resumed = Keep(), Keep()
    tiny.runner(tiny.distilled(), whole, 4, custom_hooks=[straight]).train()
    with pytest.raises(KeyboardInterrupt):
        tiny.runner(tiny.distilled(), first, 4, custom_hooks=[Interrupt(after=2)]).train()
    last = str(first / "iter_2.pth")
    tiny.runner(
        tiny.distilled(), second, 4, custom_hooks=[resumed], load_from=last, resume=True
    ).train()
    same(weights(whole / "iter_4.pth"), weights(second / "iter_4.pth"))
    assert straight.logged[2:] == resumed.logged
    assert resumed.logged[0]["loss_hmat_position"] > 0


class Interrupt(Hook):
    """Break off as Ctrl-C does, after a checkpoint."""

    priority = "LOWEST"

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


def test_the_warm_up_goes_on_after_a_resume(tiny, tmp_path):
    config = tiny.distilled(terms=dict(asckd=tiny.terms()["asckd"]))
    config["terms"]["asckd"]["schedule"] = dict(type="kd_core.schedules.Stop", at=3)
    tiny.runner(config, tmp_path / "a", 2).train()
    keep = Keep()
    last = str(tmp_path / "a" / "iter_2.pth")
    tiny.runner(config, tmp_path / "b", 4, custom_hooks=[keep], load_from=last, resume=True).train()
    assert ["loss_asckd" in step for step in keep.logged] == [True, False]


def test_ema_copies_the_student_and_shares_the_teacher(tiny, tmp_path):
    hook = dict(type="EMAHook", momentum=0.5, update_buffers=True)
    runner = tiny.runner(tiny.distilled(), tmp_path, 2, custom_hooks=[hook])
    runner.train()
    copied = next(item for item in runner.hooks if type(item).__name__ == "EMAHook")
    average = copied.ema_model.module
    assert average.distiller.teacher is runner.model.distiller.teacher
    assert average.neck is not runner.model.neck
    checkpoint = torch.load(tmp_path / "iter_2.pth", weights_only=False)
    # The hook swaps the two on saving, so that the checkpoint's weights are the average.
    loads_into_plain(tiny.faster_rcnn(), checkpoint["state_dict"])
    assert not [key for key in checkpoint["ema_state_dict"] if "teacher" in key]
    name = "neck.fpn_convs.0.conv.weight"
    trained, mean = (runner.model.get_parameter(name), average.get_parameter(name))
    assert torch.equal(checkpoint["state_dict"][name], mean) and not torch.equal(trained, mean)


def test_mixed_precision(tiny):
    """By hand, since mmengine's AmpOptimWrapper refuses a CPU."""
    model = tiny.build(tiny.distilled())
    kinds = []
    model.neck.register_forward_hook(lambda *args: kinds.append(args[2][0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tiny.losses(model)
        losses = tiny.losses(model)
    assert set(kinds) == {torch.bfloat16}
    ours = {
        name: value for name, value in losses.items() if name.startswith(("loss_hm", "loss_as"))
    }
    assert len(ours) == 4
    assert all(value.dtype == torch.float32 and value > 0 for value in ours.values())
    sum(ours.values()).backward()
    assert all(
        torch.isfinite(item.grad).all() for item in model.parameters() if item.grad is not None
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="AmpOptimWrapper needs a GPU")
def test_mixed_precision_of_the_runner(tiny, tmp_path):
    keep = Keep()
    wrapper = dict(type="AmpOptimWrapper", dtype="bfloat16", optimizer=dict(type="SGD", lr=0.01))
    kinds = []
    runner = tiny.runner(tiny.distilled(), tmp_path, 3, custom_hooks=[keep], optim_wrapper=wrapper)
    model = runner.model
    model.neck.register_forward_hook(lambda *args: kinds.append(args[2][0].dtype))
    model.register_forward_hook(
        lambda module, args, output: (
            kinds.append(output["loss_asckd"].dtype) if module.training else None
        )
    )
    runner.train()
    assert set(kinds) == {torch.bfloat16, torch.float32}
    for step in keep.logged[1:]:
        assert all(torch.isfinite(torch.tensor(value)) for value in step.values())
        assert step["loss_hmat_position"] > 0
    loads_into_plain(tiny.faster_rcnn(), weights(tmp_path / "iter_2.pth"))


def test_accumulated_gradients_are_those_of_both_batches(tiny, tmp_path):
    """Terms that look at each image alone give the doubled batch's gradient; batch norm off."""
    student = tiny.faster_rcnn()
    student["backbone"]["norm_eval"] = True
    terms = dict(
        at=dict(
            loss=dict(type="kd_core.losses.AttentionTransferLoss", loss_weight=10.0),
            layers="neck[0:3]",
        )
    )
    config = tiny.distilled(student, terms=terms)
    model = tiny.build(config)

    def gradient(data):
        model.zero_grad()
        model.train()(**data, mode="loss")["loss_at"].backward()
        return model.neck.lateral_convs[0].conv.weight.grad.clone()

    data = tiny.batch(model, 4)
    halves = [
        dict(inputs=data["inputs"][part], data_samples=data["data_samples"][part])
        for part in (slice(0, 2), slice(2, 4))
    ]
    mean = sum(gradient(half) for half in halves) / 2
    torch.testing.assert_close(mean, gradient(data), rtol=1e-4, atol=1e-7)


def test_accumulation_counts_every_iteration_and_resumes(tiny, tmp_path):
    wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01), accumulative_counts=2)
    paths = [tmp_path / name for name in ("whole", "second")]
    tiny.runner(tiny.distilled(), paths[0], 4, optim_wrapper=wrapper).train()
    state = weights(paths[0] / "iter_4.pth")
    assert state["distiller.iteration"] == 4
    last = str(paths[0] / "iter_2.pth")
    tiny.runner(
        tiny.distilled(), paths[1], 4, optim_wrapper=wrapper, load_from=last, resume=True
    ).train()
    same(state, weights(paths[1] / "iter_4.pth"))


def test_sync_bn_conversion(tiny):
    terms = tiny.terms(low="backbone.layer2.0.downsample.1")  # the conversion replaces it
    model = tiny.build(tiny.distilled(terms=terms))
    twin = tiny.build(tiny.distilled(terms=terms))
    teacher = model.distiller.teacher.model
    converted = convert_sync_batchnorm(model, "torch")
    assert converted is model and isinstance(
        model.backbone.layer2[0].downsample[1], nn.SyncBatchNorm
    )
    assert not [item for item in teacher.modules() if isinstance(item, nn.SyncBatchNorm)]
    for _ in range(2):  # without process groups SyncBN computes what BN does
        ours, theirs = tiny.losses(model), tiny.losses(twin)
    assert ours["loss_hmat_position"] > 0
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


def test_terms_of_weight_zero_leave_plain_training(tiny, tmp_path):
    config = tiny.distilled(terms=tiny.terms(weight=0.0))
    runs = {}
    for name, one in (("distilled", config), ("plain", tiny.faster_rcnn())):
        keep = Keep()
        runner = tiny.runner(one, tmp_path / name, 4, custom_hooks=[keep])
        if name == "distilled":
            ran = []
            runner.model.distiller.teacher.model.backbone.register_forward_hook(
                lambda *_, ran=ran: ran.append(1)
            )
        runner.train()
        runs[name] = (weights(tmp_path / name / "iter_4.pth"), keep.logged)
    state = {k: v for k, v in runs["distilled"][0].items() if not k.startswith("distiller.")}
    same(state, runs["plain"][0])
    assert runs["distilled"][1] == runs["plain"][1]
    assert not ran
