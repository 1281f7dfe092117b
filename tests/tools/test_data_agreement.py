"""kdkit check and kdkit train say the same of data on which nothing can be learned."""

import copy
import json
import shutil

import pytest
from PIL import Image

GOOD = dict(
    images=[dict(id=i + 1, file_name=f"{i}.png", width=100, height=100) for i in range(4)],
    annotations=[
        dict(id=i + 1, image_id=i + 1, category_id=1, bbox=[10.0, 20.0, 30.0, 40.0], area=1200.0,
             iscrowd=0)
        for i in range(4)
    ],
    categories=[dict(id=i + 1, name=str(i)) for i in range(10)],
)  # fmt: skip
CHANGES = {
    "good": {},
    "boxes_normalized": dict(bbox=[0.1, 0.2, 0.3, 0.4]),
    "boxes_xyxy": dict(bbox=[60.0, 50.0, 95.0, 90.0]),
}


@pytest.fixture
def training_set(place, tmp_path):
    """Write a training set with a change to each box; returns the options that name it."""
    for number in range(4):
        Image.new("RGB", (100, 100), (40 * number, 90, 160)).save(tmp_path / f"{number}.png")

    def write(change, *options):
        content = copy.deepcopy(GOOD)
        for annotation in content["annotations"]:
            annotation.update(change)
        (tmp_path / "train.json").write_text(json.dumps(content))
        dataset = "train_dataloader.dataset"
        return ["--cfg-options", f"{dataset}.data_root={tmp_path}", *options,
                f"{dataset}.ann_file=train.json", f"{dataset}.data_prefix.img="]  # fmt: skip

    return write


@pytest.fixture(autouse=True)
def _no_training(monkeypatch):
    """Refusals come before the Runner trains."""
    monkeypatch.setattr("mmengine.runner.Runner.train", lambda runner: None)


def both(place, run_tool, tmp_path, options):
    """Run both tools; returns what each said, and their exit codes."""
    code, text, _ = run_tool("check", place.distilled, *options)
    train_code, _, error = run_tool(
        "train", place.distilled, "--work-dir", tmp_path / "run", *options
    )
    return text, code, error, train_code


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("good", 0, ""),
        ("boxes_normalized", 1, "Their numbers lie between 0 and 1"),
        ("boxes_xyxy", 0, "4 of 4 boxes pass the border"),
    ],
)
def test_boxes(place, run_tool, training_set, tmp_path, name, code, words):
    text, check_code, error, train_code = both(
        place, run_tool, tmp_path, training_set(CHANGES[name])
    )
    assert (check_code, train_code) == (code, code), text + error
    assert words in text and words in error
    warned = name == "boxes_xyxy"
    assert ("warning: " in text) == ("warning: " in error) == warned
    last = text.splitlines()[-1]
    assert ("nothing is wrong, but read the 1 warning(s)" in last) == warned
    assert (last == "everything is ok") == (name == "good")


def test_drop_last_with_fewer_images_than_a_batch(place, run_tool, training_set, tmp_path):
    options = training_set({}, "train_dataloader.drop_last=True", "train_dataloader.batch_size=5")
    text, code, error, train_code = both(place, run_tool, tmp_path, options)
    assert (code, train_code) == (1, 1)
    for said in (text, error):
        assert "batch_size is 5 and there are 4 images: nothing would be trained" in said


def test_the_evaluator_of_another_split(place, run_tool, tmp_path):
    wrong = place.data / "annotations/instances_train.json"
    options = ["--cfg-options", f"test_evaluator.ann_file={wrong}"]
    text, code, error, train_code = both(place, run_tool, tmp_path, options)
    assert (code, train_code) == (1, 1)
    assert "the evaluator must score" in text and "the evaluator must score" in error
    code, _, error = run_tool("test", place.distilled, place.weights, *options)
    assert code == 1 and "the evaluator must score" in error and str(wrong) in error


def test_scored_on_the_training_images(place, run_tool, tmp_path):
    same = "instances_train.json"
    options = ["--cfg-options", f"test_dataloader.dataset.ann_file=annotations/{same}",
               f"test_evaluator.ann_file={place.data / 'annotations' / same}"]  # fmt: skip
    text, code, error, train_code = both(place, run_tool, tmp_path, options)
    assert (code, train_code) == (1, 1)
    assert "allow_val_on_train = True" in text and "allow_val_on_train = True" in error
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    options.append("allow_val_on_train=True")
    text, code, error, train_code = both(place, run_tool, tmp_path, options)
    assert (code, train_code) == (0, 0), text + error
    assert "12 of the 12 images of the test data" in error
