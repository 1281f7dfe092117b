"""A config with several teachers: which term compares with which, and what must be trained."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS

from kd_engine.evaluate import teacher_of
from kd_engine.run.prerequisites import references_of, require_trained

from .toy_classifiers import STUDENT, TEACHER, batch

TERMS = dict(
    kd=dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="logits", teacher="wide"),
    at=dict(
        loss=dict(type="kd_core.losses.AttentionTransferLoss"),
        layers=["network.stage2", "network.stage3"],
        schedule=dict(type="kd_core.schedules.Stop", at=0.5, unit="share"),
        teacher="same",
    ),
)

OTHER = dict(TEACHER, network=dict(TEACHER["network"], num_classes=7))


def config(**changes):
    teachers = dict(wide=dict(config=TEACHER, checkpoint=None),
                    same=dict(config=STUDENT, checkpoint=None))  # fmt: skip
    model = dict(type="kd_cls.DistilledClassifier", student=STUDENT, terms=TERMS, teachers=teachers)
    return ConfigDict(copy.deepcopy(model) | changes)


def build(**changes):
    torch.manual_seed(0)
    return MODELS.build(config(**changes))


def losses(model):
    model.train()
    return model(**model.data_preprocessor(batch(), True), mode="loss")


def test_each_term_has_the_value_that_it_has_with_one_teacher():
    both = build()
    both.distiller.set_run_length(2, 4)
    found = losses(both)
    rows = {row.term: row.teacher_shape for row in both.distiller.shape_table.rows}
    for name, teacher in (("kd", "wide"), ("at", "same")):
        term = {key: value for key, value in TERMS[name].items() if key != "teacher"}
        alone = build(teachers=None, teacher=config().teachers[teacher], terms={name: term})
        weights = both.distiller.teachers[teacher].model.state_dict()
        alone.distiller.teacher.model.load_state_dict(weights)
        alone.distiller.set_run_length(2, 4)
        torch.testing.assert_close(losses(alone)[f"loss_{name}"], found[f"loss_{name}"])
        assert rows[name] == alone.distiller.shape_table.rows[-1].teacher_shape
    sum(found.values()).backward()
    teachers = both.distiller.teachers.values()
    assert not any(p.requires_grad for one in teachers for p in one.model.parameters())


def test_a_term_of_both_is_the_weighted_sum_of_their_terms():
    kd = dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="logits", weight=2.0)
    both = build(terms=dict(kd=dict(kd, teacher=dict(wide=0.75, same=0.25))))
    found = losses(both)
    for name, share in (("wide", 0.75), ("same", 0.25)):
        teachers = {name: config().teachers[name]}
        alone = build(terms=dict(kd=dict(kd, teacher=name)), teachers=teachers)
        weights = both.distiller.teachers[name].model.state_dict()
        alone.distiller.teachers[name].model.load_state_dict(weights)
        expected = share * losses(alone)["loss_kd"]
        torch.testing.assert_close(found[f"loss_kd_{name}"], expected)


def test_what_must_be_trained_first():
    missing = dict(config="kdkit::cls/teacher+digits", checkpoint="work_dirs/none/epoch_1.pth")
    model = config()
    model.teachers.wide = missing
    assert [name for name, _ in references_of(model)] == ["teachers.wide", "teachers.same"]
    with pytest.raises(FileNotFoundError, match="teachers.wide is trained before this"):
        require_trained(Config(dict(model=model)))
    with pytest.raises(ValueError, match="one with one teacher, but it has wide, same"):
        teacher_of(Config(dict(model=config())))


def test_a_student_inherits_from_the_teacher_that_is_named():
    model = build(inherit=dict(modules=["network.stage2"], teacher="same"))
    model.distiller.set_run_length(2, 4)
    losses(model)
    weights = model.distiller.teachers["same"].model.state_dict()
    key = "network.stage2.0.weight"
    assert torch.equal(model.state_dict()[key], weights[key])
    with pytest.raises(ValueError, match="there are the teachers wide, same, so inherit must say"):
        build(inherit=["network.stage2"])


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(teacher=dict(config=TEACHER, checkpoint=None)), "must have teacher=.*but has both"),
        (dict(teachers=None), "must have teacher=.*but has neither"),
        (dict(teachers=dict(same=dict(config=STUDENT, checkpoint=None))),
         "teacher of term 'kd' must be one of 'same', but it is 'wide'"),
        (dict(teachers=dict(wide=dict(config=TEACHER))), "teachers.wide must have config and"),
        (dict(teachers=dict(wide=dict(config=OTHER, checkpoint=None),
                            same=dict(config=STUDENT, checkpoint=None))),
         "term 'kd' compares logits"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
