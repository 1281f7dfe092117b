"""Accuracy, calibration and agreement: by hand, copies, ties, files, bad logits."""

import random

import numpy as np
import pytest
import torch

from kd_cls import ClassificationMetric
from kd_cls.metric import calibration_error

# Highest logits: classes 0, 1, 2, 0. Labels 0, 1, 1, 2: two are right.
LOGITS = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 4.0], [1.0, 0.0, 0.5]]
LABELS = [0, 1, 1, 2]


def predictions(logits=LOGITS, labels=LABELS, first=10):
    return [
        dict(logits=torch.tensor(row), label=label, id=first + number)
        for number, (row, label) in enumerate(zip(logits, labels, strict=True))
    ]


def measure(samples, metric=None, size=None):
    metric = metric or ClassificationMetric()
    for start in range(0, len(samples), 3):
        metric.process(None, samples[start : start + 3])
    return metric.evaluate(len(samples) if size is None else size)


def test_by_hand():
    values = measure(predictions())
    assert set(values) == {"cls/top1", "cls/ECE"}  # three classes have no top-5
    assert values["cls/top1"] == 50
    sure = [max(np.exp(row) / np.exp(row).sum()) for row in np.array(LOGITS)]
    # 0.844, 0.665, 0.936, 0.506: each in a bin of its own.
    gaps = [1 - sure[0], 1 - sure[1], sure[2], sure[3]]
    assert values["cls/ECE"] == pytest.approx(100 * sum(gaps) / 4)


def test_top_five_has_the_label_among_the_five_highest():
    row = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
    values = measure(predictions([row] * 7, range(7)))
    assert values["cls/top1"] == pytest.approx(100 / 7)
    assert values["cls/top5"] == pytest.approx(500 / 7)


def test_of_equal_logits_the_lowest_class_comes_first():
    values = measure(predictions([[0.0] * 10] * 20, [number % 10 for number in range(20)]))
    assert values["cls/top1"] == 10 and values["cls/top5"] == 50
    assert values["cls/ECE"] == pytest.approx(0, abs=1e-9)  # it is sure to a tenth, and right so


def test_calibration_error_joins_the_images_of_a_bin():
    # Bin (0.8, 0.8667]: confidences 0.81 and 0.85, one right: |0.5 - 0.83|. Bin (0.2, 0.2667].
    found = calibration_error(np.array([0.81, 0.85, 0.25]), np.array([True, False, True]))
    assert found == pytest.approx((2 * 0.33 + 0.75) / 3)
    # The upper border belongs to a bin, the lower does not: 0.4 is 6/15.
    found = calibration_error(np.array([0.4, 0.41]), np.array([True, False]), bins=15)
    assert found == pytest.approx((0.6 + 0.41) / 2)
    found = calibration_error(np.array([0.4, 0.35]), np.array([True, False]), bins=15)
    assert found == pytest.approx(abs(1 - 0.75) / 2)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_torch_says_the_same_in_any_order():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 12, generator=generator), torch.arange(200) % 12
    samples = predictions(logits.tolist(), labels.tolist())
    random.Random(0).shuffle(samples)
    values = measure(samples)
    five = (logits.topk(5).indices == labels[:, None]).any(1).float().mean()
    assert values["cls/top1"] == pytest.approx(100 * (logits.argmax(1) == labels).float().mean())
    assert values["cls/top5"] == pytest.approx(100 * float(five))


def test_a_samplers_copies_are_left_out():
    samples = predictions()
    assert measure([*samples, *samples[:2]], size=4) == measure(samples)
    with pytest.raises(ValueError, match="has 6 images, but 4 different ids were classified"):
        measure([*samples, *samples[:2]])
    with pytest.raises(ValueError, match="has 4 images, but 0 different ids"):
        ClassificationMetric().evaluate(4)


def test_each_evaluation_starts_anew():
    metric = ClassificationMetric()
    measure(predictions(), metric)
    assert measure(predictions(labels=[0, 1, 2, 0]), metric)["cls/top1"] == 100


def test_agreement_with_what_another_model_wrote(tmp_path):
    file = str(tmp_path / "deep/teacher.npz")
    teacher = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    writer = ClassificationMetric(predictions_out=file)
    writer.dataset_meta = dict(classes=("a", "b", "c"))
    measure(predictions(teacher), writer)
    metric = ClassificationMetric(teacher_predictions=file)
    metric.dataset_meta = dict(classes=("a", "b", "c"))
    assert measure(predictions(), metric)["cls/agreement"] == 75  # 0, 1, 2, 0 and 0, 1, 1, 0
    assert measure(predictions()[::-1], metric)["cls/agreement"] == 75
    metric.dataset_meta = dict(classes=("a", "c", "b"))
    with pytest.raises(ValueError, match=r"same classes in the same order, .* 3 \(a, b, c"):
        measure(predictions(), metric)


def test_predictions_of_other_images_are_refused(tmp_path):
    file = str(tmp_path / "teacher.npz")
    measure(predictions(), ClassificationMetric(predictions_out=file))
    metric = ClassificationMetric(teacher_predictions=file)
    with pytest.raises(ValueError, match="file has 4 and the data 4, and 3 ids are the same"):
        measure(predictions(first=11), metric)
    with pytest.raises(ValueError, match="file has 4 and the data 3, and 3 ids are the same"):
        measure(predictions()[:3], metric)
    with pytest.raises(ValueError, match="file has 4 and the data 4, and labels differ"):
        measure(predictions(labels=[0, 1, 1, 1]), metric)


def test_files_that_hold_no_predictions_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no predictions none.npz. Write them: kdkit test"):
        ClassificationMetric(teacher_predictions="none.npz")
    with pytest.raises(ValueError, match=r"ends in .npz, but it is teacher.json"):
        ClassificationMetric(predictions_out="teacher.json")
    file = tmp_path / "a.npz"
    for content in (dict(ids=np.arange(3)), dict(ids=np.array([{}], dtype=object))):
        np.savez(file, **content)
        with pytest.raises(ValueError, match="must hold ids, labels, predictions, class_names"):
            ClassificationMetric(teacher_predictions=str(file))
    file.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"a.npz must hold ids"):
        ClassificationMetric(teacher_predictions=str(file))
    np.savez(file, ids=np.arange(3), labels=np.arange(3), predictions=np.arange(2),
             class_names=np.array(["a"]))  # fmt: skip
    with pytest.raises(ValueError, match=r"for each id, but their shapes are \(3,\), \(3,\)"):
        ClassificationMetric(teacher_predictions=str(file))


def test_the_teachers_predictions_are_not_replaced_by_the_students(tmp_path):
    file = tmp_path / "teacher.npz"
    measure(predictions(), ClassificationMetric(predictions_out=str(file)))
    with pytest.raises(ValueError, match="must not replace what it reads"):
        ClassificationMetric(predictions_out=str(file), teacher_predictions=str(file))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_name_their_images(value):
    samples = predictions()
    for row in (1, 3):
        samples[row] = dict(samples[row], logits=torch.tensor([0.0, value, 1.0]))
    with pytest.raises(ValueError, match=r"finite, but those of 2 \(id 11, 13\) of 4 images"):
        measure(samples)


def test_a_label_beyond_the_classes_is_named():
    with pytest.raises(ValueError, match="labels must be 0 to 2, .* they are 5 to 5"):
        measure(predictions(labels=[0, 1, 1, 5]))
