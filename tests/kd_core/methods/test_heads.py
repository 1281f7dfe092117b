"""Heads after stages: what they compute, and the phase that trains them on a frozen network."""

import copy
import re

import pytest
import torch
from torch.nn import functional as F

from kd_core.checkpoint.load import CheckpointError, load_weights
from kd_core.layers import LayerPath
from kd_core.methods.heads import HeadedClassifier, StageHead, heads_for
from kd_engine.build import TRAINING_ONLY

from ...kd_cls.toy_classifiers import TEACHER, batch
from .toy_heads import head_by_hand, run
from .toy_methods import STAGES, build, build_headed, changed, losses, train


@pytest.fixture
def pretrained(tmp_path):
    """A trained classifier's reference; its statistics are no longer those of the start."""
    model = build("Classifier", **{k: v for k, v in TEACHER.items() if k != "type"})
    train(model)
    path = tmp_path / "teacher.pth"
    torch.save(dict(state_dict=model.state_dict()), path)
    return dict(config=TEACHER, checkpoint=str(path))


def headed(pretrained, **options):
    return build("TeacherHeads", student=TEACHER, pretrained=pretrained, **options)


def saved(model, path):
    torch.save(dict(state_dict=model.state_dict()), path)
    return dict(config=dict(type="kd_cls.TeacherHeads", student=TEACHER), checkpoint=str(path))


@pytest.mark.parametrize("training", [True, False])
def test_a_head_by_hand(training):
    head = StageHead(5, 7, 10, (4, 4)).train(training)
    with torch.no_grad():
        for value in (*head.parameters(), *head.buffers()):
            if value.is_floating_point():
                value.uniform_(0.1, 1)
    features = torch.randn(3, 5, 8, 8)
    expected = head_by_hand(copy.deepcopy(head), features, training)
    for found, other in zip(head(features), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-4)


def test_a_head_bears_a_batch_of_one_whose_map_has_one_position():
    head = StageHead(5, 7, 10, (1, 1))
    vector, logits = head(torch.randn(1, 5, 8, 8))
    assert (vector.shape, logits.shape) == ((1, 7), (1, 10))
    assert torch.equal(head.convolution[1].running_var, torch.ones(7))


def test_a_head_for_each_stage_but_the_last():
    maps = [torch.zeros(2, c, s, s) for c, s in ((4, 16), (8, 8), (16, 4))]
    for wanted, size in ((None, 16), (9, 9)):
        heads = heads_for(maps, 10, wanted)
        shapes = [[tuple(x.shape) for x in head(f)] for head, f in zip(heads, maps, strict=False)]
        assert shapes == [[(2, size), (2, 10)]] * 2
        assert heads[0].shrink(maps[0]).shape[2:] == (4, 4)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([torch.zeros(2, 4, 8, 8)], "at least 2 stages, but there is 1"),
        ([torch.zeros(2, 4, 8, 8), torch.zeros(2, 8)], "stage 2 must be a feature map"),
    ],
)
def test_heads_need_maps_of_several_stages(maps, message):
    with pytest.raises(ValueError, match=message):
        heads_for(maps, 10)


def test_the_network_stays_bit_identical_while_the_heads_learn(pretrained):
    model = headed(pretrained)
    assert set(model.state_dict()) > set(torch.load(pretrained["checkpoint"])["state_dict"])
    before = copy.deepcopy(model.state_dict())
    own = train(model)
    assert "network.stage1.1.running_mean" in own
    assert not changed(own, before)
    assert not changed(own, torch.load(pretrained["checkpoint"])["state_dict"])
    after = model.distiller.heads.state_dict()
    assert len(after) == 2 * 8
    assert all(not torch.equal(before[f"distiller.heads.{key}"], after[key]) for key in after)
    assert model.training and not model.network.training


def test_the_losses_by_hand(pretrained):
    model = headed(pretrained)
    heads = copy.deepcopy(model.distiller.heads)
    alone = copy.deepcopy(model)
    alone.distiller.detach()
    logits, stages, _ = run(alone, False)
    labels = batch()["labels"]
    found = losses(model)
    expected = {"loss_ce": F.cross_entropy(logits, labels)}
    for i in (0, 1):
        own = head_by_hand(heads[i], stages[i], True)[1]
        expected[f"loss_head{i + 1}"] = F.cross_entropy(own, labels)
        expected[f"accuracy_head{i + 1}"] = 100 * (own.argmax(1) == labels).float().mean()
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4, msg=name)
    sum(value for name, value in found.items() if "loss" in name).backward()
    assert all(p.grad is not None for p in model.distiller.parameters())
    assert all(p.grad is None for p in model.network.parameters())


def test_the_network_is_itself_again_without_the_heads(pretrained):
    model = headed(pretrained)
    model.distiller.detach()
    model.train()(model.data_preprocessor(batch(), True)["inputs"])
    assert model.network.training


def test_the_checkpoint_is_the_classifiers_beside_the_heads(pretrained):
    model = headed(pretrained)
    fresh = build("Classifier", **{k: v for k, v in TEACHER.items() if k != "type"})
    load_weights(fresh, model.state_dict(), ignore=TRAINING_ONLY)
    assert not changed(fresh.state_dict(), torch.load(pretrained["checkpoint"])["state_dict"])
    beside = {key.split(".")[1] for key in model.state_dict() if key.startswith("distiller.")}
    assert beside == {"iteration", "heads"}


def test_what_was_trained_is_built_again(pretrained, tmp_path):
    model = headed(pretrained)
    train(model)
    again, precision = build_headed(saved(model, tmp_path / "heads.pth"))
    assert precision is None
    assert not changed(model.distiller.heads.state_dict(), again.heads.state_dict())
    heads = model.distiller.heads.eval()
    model.distiller.detach()
    logits, stages, _ = run(model, False)
    found = again.eval()(model.data_preprocessor(batch(), False)["inputs"])
    expected = [*(head(f)[1] for head, f in zip(heads, stages, strict=False)), logits]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_nothing_random_changes(pretrained, tmp_path):
    reference = saved(headed(pretrained), tmp_path / "heads.pth")
    torch.manual_seed(3)
    build_headed(reference)
    found = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(found, torch.rand(1))


def test_a_checkpoint_without_heads_names_the_order_and_the_command(pretrained, tmp_path):
    config = re.escape("kdkit::cls/heads+digits")
    with pytest.raises(ValueError, match="before the student.* has no heads.*kdkit train "
                       f"{config} --with-teacher") as caught:  # fmt: skip
        build_headed(pretrained)
    assert pretrained["checkpoint"] in str(caught.value)


def test_the_command_is_that_of_the_heads_config(pretrained, tmp_path):
    file = tmp_path / "own_heads.py"
    file.write_text(
        f"model = dict(type='kd_cls.TeacherHeads', student={TEACHER}, pretrained={pretrained})"
    )
    with pytest.raises(ValueError, match=rf"kdkit train {file} --with-teacher, and name"):
        build_headed(dict(config=str(file), checkpoint=pretrained["checkpoint"]))


def test_half_of_the_heads_are_not_enough(pretrained, tmp_path):
    model = headed(pretrained)
    reference = saved(model, tmp_path / "heads.pth")
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("distiller.heads.1")}
    torch.save(dict(state_dict=state), reference["checkpoint"])
    with pytest.raises(CheckpointError, match="8 missing|7 missing"):
        build_headed(reference)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (dict(layers=["network.stage9"]), ValueError, "no layer 'network.stage9'"),
        (dict(layers=STAGES[:1]), ValueError, "at least 2 stages"),
        (dict(change=dict(precision="float16")), ValueError, "no precision of its own"),
        (dict(change=dict(weights="x")), ValueError, "pretrained must have config and checkpoint"),
        (dict(student=dict(TEACHER, network=dict(type="ToyNetwork", width=5))), CheckpointError,
         "does not fit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, kind, message, pretrained):
    reference = pretrained | options.pop("change", {})
    with pytest.raises(kind, match=message):
        build("TeacherHeads", **(dict(student=TEACHER, pretrained=reference) | options))


def test_a_headed_classifiers_layers_have_names():
    model = build("Classifier", **{k: v for k, v in TEACHER.items() if k != "type"})
    layers = [LayerPath.parse(name) for name in STAGES]
    heads = heads_for(run(model, False)[1], 10)
    names = dict(HeadedClassifier(model, layers, heads, LayerPath.parse("logits")).named_modules())
    assert {"classifier.network.stage1", "heads.0", "heads.1", "classifier.logits"} <= set(names)
