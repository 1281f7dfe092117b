import pytest
import torch
from mmengine.config import Config

from kd_engine.weights.teacher_classes import compare_classes, saved_classes

OURS = ("cat", "dog", "traffic light")


@pytest.fixture
def config(tmp_path):
    def make(classes, **options):
        meta = {} if classes is None else {"dataset_meta": {"classes": classes}}
        torch.save({"state_dict": {}, "meta": meta}, tmp_path / "t.pth")
        reference = dict(config={}, checkpoint=str(tmp_path / "t.pth"), **options)
        return Config(dict(model=dict(teacher=reference, student=dict(type="x"))))

    return make


@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize(
    "classes", [OURS, list(OURS), ("Cat", "DOG", "traffic_light"), None, "cat", (1, 2, 3)]
)
def test_the_same_classes_and_none_pass(config, classes, scored):
    assert compare_classes(config(classes), OURS, scored) == []


@pytest.mark.parametrize(
    "classes, words",
    [
        (("dog", "cat", "traffic light"), "it knows 3 in another order: number 0 is 'dog' there"),
        (("cat", "dog", "bird"), "it knows 3: number 2 is 'bird' there and 'traffic light' in"),
    ],
)
def test_scores_of_other_classes_are_refused_and_features_warned_of(config, classes, words):
    with pytest.raises(ValueError, match=f"(?s)so the teacher must know.*{words}.*same_classes"):
        compare_classes(config(classes), OURS, True)
    (line,) = compare_classes(config(classes), OURS, False)
    assert line.startswith("  warning: ") and words in line
    assert compare_classes(config(classes, same_classes=True), OURS, True) == []


@pytest.mark.parametrize("scored", [True, False])  # the shapes tell whether that can be compared
def test_more_classes_are_said(config, scored):
    many = config([f"c{number}" for number in range(80)])
    (line,) = compare_classes(many, OURS, scored)
    assert "warning" not in line and "it knows 80 (c0, c1, c2, ...), the data has 3" in line


def test_an_absent_file_is_for_its_reader_to_name():
    assert saved_classes("none.pth") == () and saved_classes(None) == ()
