import sys
import types
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from torch import nn

from benchmarks.cls.case import ClassifierCase
from benchmarks.cls.cost import Settings, describe, measure_distillation
from benchmarks.cls.torchdistill_case import peer_terms, with_peer
from kd_core import Term
from kd_core.losses import (
    AttentionTransferLoss,
    HMATLoss,
    SimilarityPreservingLoss,
    SoftTargetLoss,
)

from ...kd_cls.toy_classifiers import STUDENT, TEACHER

CPU = torch.device("cpu")
REFERENCE = dict(config=TEACHER, checkpoint="weights that are not there.pth")
KD = dict(kd=dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="logits", weight=0.5))
STAGES = ["network.stage1", "network.stage2"]
AT = dict(
    at=dict(
        loss=dict(type="kd_core.losses.AttentionTransferLoss"),
        layers=STAGES,
        weight=1000.0,
        schedule=dict(type="kd_core.schedules.LinearWarmup", begin=5, end=100),
    )
)
SP = dict(sp=dict(loss=dict(type="kd_core.losses.SimilarityPreservingLoss"), layers=STAGES))


def distilled(terms, **changes):
    model = dict(type="kd_cls.DistilledClassifier", student=STUDENT, teacher=REFERENCE, terms=terms)
    return Config(dict(model=model, **changes))


def ctkd():
    return Config(
        dict(
            model=dict(
                type="kd_cls.CTKD",
                student=STUDENT,
                scratch=TEACHER,
                teacher=REFERENCE,
                layers=None,
            )
        )
    )


def byot():
    return Config(dict(model=dict(type="kd_cls.BYOT", student=STUDENT)))


def mskd_ssr():
    return Config(dict(model=dict(type="kd_cls.MSKDSSR", student=STUDENT, teacher=REFERENCE)))


def case(config, batch=4):
    return ClassifierCase(config, (16, 16), batch, CPU)


def test_a_report_has_the_ratio_of_each_round():
    settings = Settings((16, 16), batch=4, rounds=2)
    report = measure_distillation(distilled(KD | AT), settings)
    assert report["parts"] == ["student", "teacher"]
    for clock, found in report["ratios"].items():
        seconds = {name: times[clock] for name, times in report["seconds"].items()}
        assert found == [
            seconds["distilled"][i] / (seconds["student"][i] + seconds["teacher"][i])
            for i in range(2)
        ]
    assert set(report["terms_seconds"]) == {"kd", "at"}
    text = describe(report)
    assert "4 images of 16 x 16, 2 rounds" in text and "wanted: at most 1.05" in text
    assert "distilled / (student + teacher)" in text


def test_a_plain_classifier_is_refused():
    with pytest.raises(ValueError, match="more networks than the student.*kd_cls.Classifier"):
        case(Config(dict(model=STUDENT)))


def test_the_size_is_what_the_student_wants():
    model = dict(distilled(KD).model, student=dict(STUDENT, image_size=(24, 16)))
    found = ClassifierCase(Config(dict(model=model)), None, 2, CPU)
    assert found.size == (24, 16) and found.data["inputs"].shape == (2, 3, 24, 16)


def test_all_weights_stay_and_gradients_are_given_back():
    optimizer = dict(type="SGD", lr=9.0, momentum=0.9, weight_decay=1.0)
    config = distilled(KD | AT, optim_wrapper=dict(type="OptimWrapper", optimizer=optimizer))
    found = case(config)
    models = (found.student, found.distilled, found.distiller.teacher.model)
    before = [[p.clone() for p in model.parameters()] for model in models]
    for action in found.actions().values():
        action()
    for model, weights in zip(models, before, strict=True):
        assert all(map(torch.equal, model.parameters(), weights))
        assert all(p.grad is None for p in model.parameters())
    found.check_same_work()


def test_schedules_are_left_out_so_that_every_term_is_active():
    assert case(distilled(KD | AT)).distiller.active_terms() == {"kd": 0.5, "at": 1000.0}


def test_students_that_differ_stop_the_benchmark():
    found = case(distilled(KD))
    found.check_same_work()
    with torch.no_grad():
        found.distilled.network.classifier.bias += 1.0
    with pytest.raises(ValueError, match="same work, but their logits differ by 1"):
        found.check_same_work()


def test_every_network_of_a_method_is_a_part():
    found = case(ctkd())
    assert found.parts() == ["student", "the scratch teacher", "the expert teacher"]
    assert list(found.actions()) == [*found.parts(), "distilled"]
    assert found.term_actions() == {}
    scratch = found.distiller.scratch
    expert = found.distiller.teachers["the expert teacher"].model
    calls = []
    for name, module in (("scratch", scratch), ("expert", expert)):
        module.register_forward_hook(lambda *_, name=name: calls.append(
            (name, torch.is_grad_enabled())))  # fmt: skip
    with mock.patch.object(torch.Tensor, "backward", autospec=True) as backward:
        found.actions()["the expert teacher"]()
        assert backward.call_count == 0
        found.actions()["the scratch teacher"]()
        assert backward.call_count == 1
    assert calls == [("expert", False), ("scratch", True)]


@pytest.mark.parametrize("method", [byot, mskd_ssr])
def test_heads_are_part_of_the_students_own_step(method):
    found = case(method())
    assert found.parts()[0] == "student with heads" and "student" not in found.parts()
    own, heads = found._actions["student with heads"].args[1], found.distiller.heads
    assert own.classifier is found.student and len(own.heads) == len(heads)
    before = [head.clone() for head in own.parameters()]
    found.actions()["student with heads"]()
    moved = found._optimizers["student with heads"].optimizer.state
    assert all(moved[p]["momentum_buffer"].any() for p in own.parameters() if p.ndim > 1)
    assert not {*moved} & {*heads.parameters()}  # those of the method are its own
    torch.testing.assert_close(list(own.parameters()), before)
    logits = own(found.data["inputs"])
    wanted = sum(nn.functional.cross_entropy(one, found.data["labels"]) for one in logits)
    assert found._own_loss(own).item() == pytest.approx(wanted.item(), rel=1e-5)
    found.check_same_work()


def test_a_method_that_begins_later_begins_at_once():
    model = dict(
        type="kd_cls.CCSKD",
        student=STUDENT,
        teacher=REFERENCE,
        schedule=dict(epoch_length=23, start=2, decay=[2, 5], every=1),
    )
    found = case(Config(dict(model=model)))
    losses = found.distilled(**found.data, mode="loss")
    assert "loss_selective" in losses and losses["loss_ce"] > 0


PATHS = dict(student_module_path="logits", student_module_io="output",
             teacher_module_path="network", teacher_module_io="output")  # fmt: skip


def test_terms_are_written_as_torchdistill_has_them():
    terms = {
        "kd": Term(SoftTargetLoss(2.0, 0.5), "logits", "network", weight=3.0),
        "at": Term(AttentionTransferLoss(), STAGES, weight=1000.0),
        "sp": Term(SimilarityPreservingLoss(2.0), STAGES, weight=7.0),
    }
    found = peer_terms(terms, cross_entropy=0.1)
    assert found["ce"]["weight"] == 0.1
    kd = found["kd0"]
    assert kd["weight"] == 3.0 * 0.5 * 4.0
    assert kd["criterion"]["kwargs"] == PATHS | dict(temperature=2.0, beta=1.0)
    pairs = found["at0"]["criterion"]["kwargs"]["at_pairs"]
    assert [pair["teacher"]["path"] for pair in pairs.values()] == STAGES
    assert found["at0"]["weight"] == 1000.0
    assert [found[name]["weight"] for name in ("sp0", "sp1")] == [14.0, 14.0]
    assert set(found) == {"ce", "kd0", "at0", "sp0", "sp1"}


@pytest.mark.parametrize(
    "term",
    [
        Term(HMATLoss(), dict(low="a", mid="b", high="c")),
        Term(AttentionTransferLoss(form="paper"), STAGES),
        Term(SoftTargetLoss(), "neck[0]"),
    ],
)
def test_what_torchdistill_has_not_is_not_written(term):
    assert peer_terms({"kd": Term(SoftTargetLoss(), "logits"), "x": term}) is None


def test_without_torchdistill_the_output_has_the_command():
    with mock.patch.dict(sys.modules, torchdistill=None):
        together, remark = with_peer(found := case(distilled(KD)))
    assert together is found and "pip install torchdistill" in remark


def test_methods_and_optimizers_that_it_has_not_are_told():
    assert "no such method" in with_peer(case(ctkd()))[1]
    clipped = dict(
        type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1), clip_grad=dict(max_norm=1.0)
    )
    assert "with a plain optimizer" in with_peer(case(distilled(KD, optim_wrapper=clipped)))[1]


class FakeBox:
    """As much of torchdistill's box as is used: a cross-entropy of the student's logits."""

    def __init__(self, teacher, student, datasets, config, device, ids, distributed, factor):
        self.teacher_model, self.student_model, self.config = teacher, student, config
        self.factor = 1.0

    def forward_process(self, images, labels):
        """Without a term's weight the total loss is the cross-entropy."""
        return self.factor * nn.functional.cross_entropy(self.student_model(images), labels)

    def post_forward_process(self, loss):
        loss.backward()


@pytest.fixture
def fake():
    """A torchdistill with the fake box."""
    names = ("torchdistill", "torchdistill.core", "torchdistill.core.distillation")
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[-1]].DistillationBox = FakeBox
    with mock.patch.dict(sys.modules, modules), mock.patch(
        "benchmarks.cls.torchdistill_case.version_of", return_value="9.9"
    ):  # fmt: skip
        yield


def test_a_peer_with_another_loss_does_not_take_part(fake):
    together, remark = with_peer(found := case(distilled(KD)))
    assert together is found and "total losses differ by" in remark


def test_a_peer_with_the_same_loss_takes_part_and_is_watched(fake):
    terms = dict(kd=dict(KD["kd"], weight=0.0))
    together, remark = with_peer(found := case(distilled(terms)))
    assert list(together.actions()) == ["student", "teacher", "distilled", "torchdistill"]
    assert "9.9 takes part; its total loss is the same" in remark
    assert together.parts() == found.parts()
    config = together._box.config
    assert config["optimizer"] == dict(key="SGD", kwargs=dict(lr=0.0, momentum=0.9))
    assert config["teacher"]["requires_grad"] is False
    assert not together._box.teacher_model.training and together._box.student_model.training
    together.actions()["torchdistill"]()
    assert all(p.grad is None for p in found.student.parameters())  # a copy of its own
    together.check_same_work()
    together._box.factor = 1.01
    with pytest.raises(ValueError, match="total losses differ"):
        together.check_same_work()


@pytest.mark.parametrize("terms", [KD, AT, SP, KD | AT])
def test_the_real_torchdistill_has_our_total_loss(terms):
    pytest.importorskip("torchdistill")
    report = measure_distillation(distilled(terms), Settings((16, 16), batch=4, rounds=1))
    assert "takes part" in report["peer"]
    assert set(report["peer_ratio"]) == {"torchdistill"}
    assert "distilled / torchdistill" in describe(report)
