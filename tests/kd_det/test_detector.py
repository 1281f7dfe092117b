import copy
from collections import OrderedDict

import pytest
import torch
from mmdet.models import FasterRCNN
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

import kd_det
from kd_core.checkpoint.load import CheckpointError
from kd_engine.build import build_teacher


def plain(tiny, config, state):
    model = MODELS.build(ConfigDict(copy.deepcopy(config)))
    own = {key: value for key, value in state.items() if not key.startswith("distiller.")}
    model.load_state_dict(own, strict=True)
    return model


def predictions(tiny, model):
    model.eval()
    data = tiny.batch(model)
    with torch.no_grad():
        return [one.pred_instances for one in model(**data, mode="predict")]


def test_it_is_the_student_with_more_losses(tiny):
    model = tiny.build(tiny.distilled())
    assert type(model) is FasterRCNN
    losses = tiny.losses(model)
    losses = tiny.losses(model)  # at iteration 0 the warm-up is 0
    expected = {"loss_hmat_position", "loss_hmat_activation", "loss_hmat_channel", "loss_asckd"}
    own = {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "acc"}
    assert set(losses) == expected | own
    assert all(losses[name].dtype == torch.float32 and losses[name] > 0 for name in expected)
    total, log = model.parse_losses(losses)
    by_hand = sum(
        sum(item.mean() for item in (value if isinstance(value, list) else [value]))
        for name, value in losses.items()
        if "loss" in name
    )
    torch.testing.assert_close(total, by_hand)
    assert expected <= set(log)


def test_it_builds_outside_a_runner(tiny, monkeypatch):
    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())  # no scope, as at a prompt
    assert DefaultScope.get_current_instance() is None
    model = kd_det.DistilledDetector(**{k: v for k, v in tiny.distilled().items() if k != "type"})
    assert type(model) is FasterRCNN
    assert DefaultScope.get_current_instance() is None
    assert tiny.losses(model)["loss_asckd"] > 0


def test_the_own_losses_are_those_of_the_plain_student(tiny):
    model = tiny.build(tiny.distilled())
    other = plain(tiny, tiny.faster_rcnn(), model.state_dict())
    ours, theirs = tiny.losses(model), tiny.losses(other)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)


def test_it_predicts_what_the_plain_student_predicts(tiny):
    model = tiny.build(tiny.distilled())
    tiny.losses(model)  # batch norms have moved
    other = plain(tiny, tiny.faster_rcnn(), model.state_dict())
    for ours, theirs in zip(predictions(tiny, model), predictions(tiny, other), strict=True):
        assert len(ours) > 0
        assert torch.equal(ours.bboxes, theirs.bboxes)
        assert torch.equal(ours.scores, theirs.scores)
        assert torch.equal(ours.labels, theirs.labels)


@pytest.mark.parametrize("name", ["retinanet", "fcos", "yolox", "faster_rcnn"])
def test_detectors_of_every_kind(tiny, name):
    config = getattr(tiny, name)()
    levels = ("neck[0]", "neck[1]", "neck[2]")
    model = tiny.build(tiny.distilled(config, config, tiny.terms(*levels)))
    losses = tiny.losses(model)
    losses = tiny.losses(model)
    ours = {"loss_hmat_position", "loss_hmat_activation", "loss_hmat_channel", "loss_asckd"}
    assert ours < set(losses)
    total, _ = model.parse_losses({name: losses[name] for name in ours})
    total.backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all()
        for name, parameter in model.backbone.named_parameters()
    )
    assert len(predictions(tiny, model)) == 2


def test_teacher_and_student_of_different_families(tiny):
    terms = dict(
        at=dict(
            loss=dict(type="kd_core.losses.AttentionTransferLoss"),
            layers="neck[1:3]",
            teacher_layers="neck[0:2]",
        )
    )
    model = tiny.build(tiny.distilled(tiny.faster_rcnn(), tiny.retinanet(), terms))
    assert tiny.losses(model)["loss_at"] > 0


def test_connectors_where_channels_differ(tiny):
    model = tiny.build(tiny.distilled(teacher=tiny.faster_rcnn(neck=24)))
    weights = {n: p for n, p in model.named_parameters() if n.startswith("distiller.")}
    shapes = {tuple(weight.shape) for weight in weights.values() if weight.ndim == 4}
    assert shapes == {(24, 16, 1, 1)}
    tiny.losses(model)
    losses = tiny.losses(model)
    losses["loss_hmat_channel"].backward()
    assert all(weight.grad.abs().sum() > 0 for weight in weights.values() if weight.ndim == 4)
    same = tiny.build(tiny.distilled(teacher=tiny.faster_rcnn(neck=16)))
    assert not [name for name in same.state_dict() if "connectors" in name]


@pytest.mark.parametrize(
    ("layer", "parts"),
    [("backbone.layer3", ["backbone"]), ("neck[0]", ["backbone", "neck"])],
)
def test_the_teacher_runs_no_further_than_its_selected_layer(tiny, layer, parts):
    loss = dict(type="kd_core.losses.AttentionTransferLoss")
    model = tiny.build(tiny.distilled(terms=dict(at=dict(loss=loss, layers=layer))))
    ran = []
    for name, part in model.distiller.teacher.model.named_children():
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
    assert tiny.losses(model)["loss_at"] > 0
    assert ran == parts


def test_a_selected_head_runs(tiny):
    terms = dict(
        at=dict(loss=dict(type="kd_core.losses.AttentionTransferLoss"), layers="rpn_head[0]")
    )
    model = tiny.build(tiny.distilled(terms=terms))
    teacher = model.distiller.teacher.model
    value = tiny.losses(model)["loss_at"]
    inputs = tiny.batch(model)["inputs"]
    twin = plain(tiny, tiny.faster_rcnn(), model.state_dict()).train()
    with torch.no_grad():
        wanted = teacher.eval().rpn_head(teacher.extract_feat(inputs))[0]
        found = twin.rpn_head(twin.extract_feat(inputs))[0]
    loss = model.distiller.terms["at"].loss
    torch.testing.assert_close(
        value.detach(), sum(loss(*pair) for pair in zip(found, wanted, strict=True))
    )


def test_a_layer_that_runs_for_every_level_gives_all_levels(tiny):
    loss = dict(type="kd_core.losses.AttentionTransferLoss")
    terms = dict(
        runs=dict(loss=loss, layers="rpn_head.rpn_cls"),
        whole=dict(loss=loss, layers="rpn_head[0]"),
        third=dict(loss=loss, layers="rpn_head[0][2]"),
    )
    model = tiny.build(tiny.distilled(terms=terms))
    rows = model.distiller.shape_table.rows
    assert [row.term for row in rows] == ["runs"] * 5 + ["whole"] * 5 + ["third"]
    losses = tiny.losses(model)
    assert losses["loss_runs"] > losses["loss_third"] > 0
    torch.testing.assert_close(losses["loss_runs"], losses["loss_whole"])


def test_gradient_shares_are_logged(tiny):
    model = tiny.build(tiny.distilled(gradient_shares=dict(layer="neck", interval=2)))
    assert "gradient_share_asckd" in tiny.losses(model)  # iteration 0
    assert not [name for name in tiny.losses(model) if "share" in name]
    losses = tiny.losses(model)
    shares = {name: value for name, value in losses.items() if "share" in name}
    assert set(shares) == {f"gradient_share_{n}" for n in ("hmat", "asckd", "task")}
    torch.testing.assert_close(sum(shares.values()), torch.tensor(1.0))
    total, log = model.parse_losses(losses)
    assert log["gradient_share_hmat"] > 0
    without, _ = model.parse_losses({n: v for n, v in losses.items() if n not in shares})
    torch.testing.assert_close(total, without)
    total.backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(layers="nek[0]"), "has no layer 'nek'. Nearest names: neck"),
        (dict(layers="neck[7]"), "asks for [7], but 'neck' returns a tuple of 5"),
        (dict(layers=["neck[0]", "neck[1]"], teacher_layers="neck[0]"), "2 levels of the student"),
    ],
)
def test_a_wrong_layer_is_named(tiny, change, message):
    terms = dict(at=dict(loss=dict(type="kd_core.losses.AttentionTransferLoss"), **change))
    with pytest.raises(ValueError) as caught:
        tiny.build(tiny.distilled(terms=terms))
    assert message in str(caught.value)


def test_unknown_keys_of_the_teacher_are_refused(tiny):
    config = tiny.distilled()
    config["teacher"]["weights"] = "x.pth"
    with pytest.raises(
        ValueError, match="may have allow_partial, key, prefix, precision.*'weights'"
    ):
        tiny.build(config)


def saved_teacher(tiny, path, **config):
    teacher = tiny.build(tiny.faster_rcnn(neck=24, **config), seed=7)
    torch.save(dict(state_dict=teacher.state_dict()), path)
    return teacher


def test_the_teacher_has_the_weights_of_its_checkpoint(tiny, tmp_path):
    teacher = saved_teacher(tiny, tmp_path / "teacher.pth")
    model = tiny.build(tiny.distilled(checkpoint=str(tmp_path / "teacher.pth")))
    found = model.distiller.teacher.model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in teacher.state_dict().items())


def test_a_distilled_run_can_be_the_next_teacher(tiny, tmp_path):
    first = tiny.distilled(student=tiny.faster_rcnn(neck=24))
    model = tiny.build(first, seed=3)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "first.pth")
    second = tiny.build(tiny.distilled(teacher=first, checkpoint=str(tmp_path / "first.pth")))
    teacher = second.distiller.teacher.model
    assert not hasattr(teacher, "distiller")
    assert torch.equal(teacher.neck.lateral_convs[0].conv.weight,
                       model.neck.lateral_convs[0].conv.weight)  # fmt: skip


def broken(state, how):
    name = "neck.lateral_convs.0.conv.weight"
    if how == "missing":
        del state[name]
    elif how == "unexpected":
        state["neck.extra.weight"] = torch.zeros(2)
        name = "neck.extra.weight"
    else:
        state[name] = state[name][:, :-1]
    return name


@pytest.mark.parametrize("how", ["missing", "unexpected", "mis-shaped"])
def test_a_teacher_that_does_not_fit_stops_the_run(tiny, tmp_path, how):
    state = tiny.build(tiny.faster_rcnn(neck=24)).state_dict()
    name = broken(state, how)
    torch.save(dict(state_dict=state), tmp_path / "teacher.pth")
    config = tiny.distilled(checkpoint=str(tmp_path / "teacher.pth"))
    with pytest.raises(CheckpointError) as caught:
        tiny.build(config)
    assert name in str(caught.value) and "teacher.pth" in str(caught.value)
    config["teacher"]["allow_partial"] = True
    assert tiny.losses(tiny.build(config))["loss_asckd"] > 0


def test_a_teacher_of_another_class_count_is_explained(tiny, tmp_path):
    saved_teacher(tiny, tmp_path / "teacher.pth", classes=5)
    with pytest.raises(CheckpointError) as caught:
        tiny.build(tiny.distilled(checkpoint=str(tmp_path / "teacher.pth")))
    text = str(caught.value)
    lines = [line for line in text.splitlines() if "fc_cls.weight" in line]
    assert len(lines) == 1 and "6x32" in lines[0].replace(" ", "").replace(",", "x")
    assert "class" in text.lower()


def test_a_teacher_by_its_mmdet_name(tiny):
    teacher = build_teacher("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py", None)
    assert type(teacher).__name__ == "YOLOX"


def test_a_teacher_config_that_is_not_there_is_named(tiny):
    with pytest.raises(FileNotFoundError, match="there is no config file configs/nothing.py"):
        tiny.build(tiny.distilled(teacher="configs/nothing.py"))


def test_building_the_teacher_draws_no_random_numbers(tiny):
    model = tiny.build(tiny.distilled(), seed=5)
    after = torch.rand(3)
    alone = tiny.build(tiny.faster_rcnn(), seed=5)
    assert torch.equal(after, torch.rand(3))
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in alone.state_dict().items())


def test_the_teacher_is_not_part_of_the_student(tiny):
    model = tiny.build(tiny.distilled())
    teacher = {id(parameter) for parameter in model.distiller.teacher.model.parameters()}
    assert not teacher & {id(parameter) for parameter in model.parameters()}
    model.double()
    assert next(model.distiller.teacher.model.parameters()).dtype == torch.float64


def test_the_teacher_runs_in_eval_mode(tiny):
    teacher = tiny.faster_rcnn(neck=24)
    teacher["backbone"]["norm_eval"] = False
    model = tiny.build(tiny.distilled(teacher=teacher))
    frozen = model.distiller.teacher.model
    before = copy.deepcopy(frozen.state_dict())
    frozen.train()  # as a careless hook might
    tiny.losses(model)
    assert not any(module.training for module in frozen.modules())
    assert all(torch.equal(before[key], value) for key, value in frozen.state_dict().items())
