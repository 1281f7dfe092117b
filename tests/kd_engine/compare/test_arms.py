"""Arms of a comparison: names, baselines, what they should have in common."""

import pytest

from kd_engine.compare.arms import given_arms, with_students_alone
from kd_engine.compare.fairness import require_same_test, unfair

STUDENT, KD, HMAT = (f"kdkit::cls/{name}+digits" for name in ("student", "kd", "hmat"))


def made(*names, earlier=(), **options):
    return with_students_alone(given_arms(names, options), earlier)


def test_distilled_arms_share_one_student_alone():
    alone, kd, hmat = made(KD, HMAT)
    assert [one.arm.name for one in (alone, kd, hmat)] == ["alone", "kd+digits", "hmat+digits"]
    assert (alone.arm.kind, alone.arm.derived, alone.arm.baseline) == ("plain", True, None)
    assert kd.arm.baseline == hmat.arm.baseline == "alone"
    assert "teacher" not in alone.config.model and alone.config.model.type == "kd_cls.Classifier"
    (student,) = made(STUDENT)
    assert alone.arm.fingerprint == student.arm.fingerprint  # nothing of the distillation is left


def test_another_student_has_another_alone():
    first, kd = made(KD)
    second, wider = made(KD, earlier=[first.arm, kd.arm], **{
        "model.student.network.name": "resnet20"})  # fmt: skip
    assert second.arm.name == "alone (kd+digits)" == wider.arm.baseline
    third, _ = made(HMAT, earlier=[first.arm])
    assert third.arm.name == "alone"
    (student,) = made(STUDENT)
    again, _ = made(HMAT, earlier=[student.arm])
    assert again.arm.name == "student+digits"  # which the results hold already


def test_names_tell_arms_apart():
    names = ["kdkit::cls/student+digits", "kdkit::retrieval/student+digits", KD]
    found = [one.arm.name for one in given_arms(names, {})]
    assert found == ["cls/student+digits", "retrieval/student+digits", "kd+digits"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"train_cfg.max_epochs": 9}, "another budget: 6 epochs and 9 epochs"),
     ({"train_dataloader.batch_size": 8}, "other batch sizes: 64 and 8"),
     ({"train_dataloader.dataset.split": "train"}, "distillation: training images."),
     ({"train_dataloader.dataset.transforms": []}, "distillation: transforms."),
     ({"model.network.name": "resnet20"}, "distillation: student."),
     ({"optim_wrapper.optimizer.lr": 0.1}, "distillation: optimizer."),
     ({"param_scheduler": []}, "distillation: schedule.")],
)  # fmt: skip
def test_what_differs_besides_distillation_is_named(settings, said):
    (kd,), (student,) = given_arms([KD], {}), given_arms([STUDENT], settings)
    arms = [kd.arm, student.arm]
    (warning,) = unfair(arms, [(kd.arm, student.arm)])
    assert warning.startswith("kd+digits and student+digits ") and said in f"{warning}."
    require_same_test(arms)


def test_a_fair_comparison_has_no_warning():
    kd, student = given_arms([KD, STUDENT], {})
    assert not [*unfair([kd.arm, student.arm], [(kd.arm, student.arm)])]


def test_what_is_chosen_by_the_score_itself_is_named():
    options = {
        "default_hooks.checkpoint": dict(type="CheckpointHook", save_best="cls/top1"),
        "custom_hooks": [dict(type="EarlyStoppingHook", monitor="cls/top1")],
        "param_scheduler": [dict(type="ReduceOnPlateauLR", monitor="cls/top1")],
    }
    (student,) = given_arms([STUDENT], options)
    assert student.arm.scored_on_test
    length, rate, best = student.arm.warnings
    assert length == "the length of its training is chosen on the test data (EarlyStopping)"
    assert rate.startswith("the learning rate of its training is chosen on the test data")
    assert best.startswith("its best_*.pth is chosen on the test data")
    (student,) = given_arms([STUDENT], {**options, "val_dataloader.dataset.split": "val"})
    assert not student.arm.scored_on_test and len(student.arm.warnings) == 2
    assert "on the data that it is scored on" in student.arm.warnings[0]
