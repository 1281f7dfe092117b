import json
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

from benchmarks.det.training import (
    Training,
    measure_training,
    summary,
    training_config,
    write_images,
)


def test_images_and_annotations_are_laid_out_like_coco(tmp_path):
    write_images(tmp_path, 2, ["a", "b", "c"])
    content = json.loads((tmp_path / "annotations/instances_train2017.json").read_text())
    assert [one["name"] for one in content["categories"]] == ["a", "b", "c"]
    assert {one["category_id"] for one in content["annotations"]} == {0, 1, 2}
    for image in content["images"]:
        with Image.open(tmp_path / "train2017" / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"]) == (640, 480)
    for one in content["annotations"]:
        left, top, width, height = one["bbox"]
        assert left + width <= 640 and top + height <= 480 and width * height == one["area"]


def test_the_second_half_of_the_iterations_counts():
    lines = [dict(step=step, time=time, data_time=time / 4, memory=9)
             for step, time in ((10, 50.0), (20, 9.0), (30, 0.3), (40, 0.1))]  # fmt: skip
    found = summary(lines, 8)
    assert found == pytest.approx(dict(images_per_second=40, loader_share=0.25, peak_mb=9))


def test_a_tenth_of_the_training_is_a_line_and_nothing_is_saved():
    config = Config(dict(model=dict(type="FasterRCNN", backbone=dict(init_cfg=dict(type="x")))))
    made = training_config(config, Training((480, 640), iterations=100), Path("data"), ["one"])
    assert made["log_processor"]["window_size"] == made["default_hooks"]["logger"]["interval"] == 10
    assert made["default_hooks"]["checkpoint"]["interval"] > 100
    assert made["optim_wrapper"]["optimizer"]["lr"] == 0
    dataset = made["train_dataloader"]["dataset"]
    assert dataset["pipeline"][2]["scale"] == (640, 480)
    assert dataset["metainfo"] == {"classes": ["one"]}


def test_a_training_that_fails_says_why(tmp_path):
    model = dict(type="FasterRCNN", roi_head=dict(bbox_head=dict(num_classes=2)))
    with pytest.raises(RuntimeError, match="the training ended with 1: .*"):
        measure_training(Config(dict(model=model)), Training((64, 96), images=1), False, False)
