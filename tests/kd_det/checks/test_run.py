"""Datasets of a run with one another: evaluators, shared images, what filters leave."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from kd_det.checks.run import check_all
from kd_det.task import TASK

BOX = dict(bbox=[10.0, 20.0, 30.0, 40.0], area=1200.0, iscrowd=0)


class Set:
    """A folder with splits of COCO, each with 4 images of its own, ids from 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number, name in enumerate(("train", "val", "test")):
            self.write(name, range(4 * number, 4 * number + 4))

    def write(
        self,
        name: str,
        pictures: Any,
        seeds: Any = None,
        change: Callable[[Any], None] | None = None,
    ) -> str:
        """Write a split of images in its own folder; images of the same seed are the same."""
        content: dict[str, Any] = dict(
            images=[], annotations=[], categories=[dict(id=1, name="thing")]
        )
        for row, (number, seed) in enumerate(zip(pictures, seeds or pictures, strict=True), 1):
            file = self.folder / name / f"{number}.png"
            file.parent.mkdir(exist_ok=True)
            noise = np.random.default_rng(seed).integers(0, 256, (100, 100, 3), dtype=np.uint8)
            Image.fromarray(noise).save(file)
            content["images"].append(dict(id=row, file_name=file.name, width=100, height=100))
            content["annotations"].append(dict(BOX, id=row, image_id=row, category_id=1))
        if change is not None:
            change(content)
        (self.folder / f"{name}.json").write_text(json.dumps(content))
        return str(self.folder / f"{name}.json")

    def dataset(self, name: str, **changes: Any) -> dict[str, Any]:
        return dict(
            type="CocoDataset",
            data_root=str(self.folder),
            ann_file=f"{name}.json",
            data_prefix=dict(img=f"{name}/"),
            metainfo=dict(classes=("thing",)),
            **changes,
        )

    def config(self, **changes: Any) -> Config:
        settings: dict[str, Any] = dict(model=dict(type="FasterRCNN"))
        for name in ("train", "val", "test"):
            settings[f"{name}_dataloader"] = dict(
                batch_size=2,
                sampler=dict(type="DefaultSampler"),
                dataset=self.dataset(name, test_mode=name != "train"),
            )
            if name != "train":
                settings[f"{name}_evaluator"] = dict(
                    type="CocoMetric", ann_file=str(self.folder / f"{name}.json")
                )
        return Config({**settings, **changes})


@pytest.fixture
def data(tmp_path: Path) -> Set:
    return Set(tmp_path)


def _errors(config: Config) -> list[str]:
    return [error for report in check_all(config) for error in report.errors]


def _warnings(config: Config) -> list[str]:
    return [warning for report in check_all(config) for warning in report.warnings]


def test_right_data_gives_neither_errors_nor_warnings(data: Set) -> None:
    assert _errors(data.config()) == [] and _warnings(data.config()) == []
    assert not any("warning" in line for line in TASK.check_data(data.config()))
    TASK.check_test(data.config())


@pytest.mark.parametrize("name", ["val", "test"])
def test_the_evaluator_of_another_split_is_an_error(data: Set, name: str) -> None:
    wrong = str(data.folder / "train.json")
    config = data.config(**{f"{name}_evaluator": dict(type="CocoMetric", ann_file=wrong)})
    (error,) = _errors(config)
    assert (
        f"{name}_evaluator.ann_file={wrong}" in error and str(data.folder / f"{name}.json") in error
    )
    assert "this file has 4" in error and "0 are the same" in error
    with pytest.raises(ValueError, match="the evaluator must score"):
        TASK.check_data(config)
    if name == "test":
        with pytest.raises(ValueError, match="the evaluator must score"):
            TASK.check_test(config)


def test_evaluators_in_lists_and_wrappers(data: Set) -> None:
    right = dict(type="CocoMetric", ann_file=str(data.folder / "val.json"))
    wrong = dict(type="CocoMetric", ann_file=str(data.folder / "test.json"))
    without = dict(type="CocoMetric")
    assert _errors(data.config(val_evaluator=[right, without])) == []
    assert len(_errors(data.config(val_evaluator=[right, wrong, without]))) == 1
    assert len(_errors(data.config(val_evaluator=dict(type="Evaluator", metrics=[wrong])))) == 1

    both = dict(type="ConcatDataset", datasets=[data.dataset("val"), data.dataset("test")])
    loader = dict(batch_size=2, dataset=both)
    several = dict(type="MultiDatasetsEvaluator", dataset_prefixes=["a", "b"])
    config = data.config(val_dataloader=loader, val_evaluator=dict(several, metrics=[right, wrong]))
    assert _errors(config) == []
    config = data.config(val_dataloader=loader, val_evaluator=dict(several, metrics=[wrong, right]))
    assert len(_errors(config)) == 2
    assert len(_errors(data.config(val_dataloader=loader, val_evaluator=right))) == 1


def test_a_copy_and_a_link_of_the_same_file_pass(data: Set) -> None:
    text = (data.folder / "val.json").read_text()
    (data.folder / "copy.json").write_text(text)
    (data.folder / "link.json").symlink_to(data.folder / "val.json")
    for name in ("copy", "link"):
        metric = dict(type="CocoMetric", ann_file=str(data.folder / f"{name}.json"))
        assert _errors(data.config(val_evaluator=metric)) == []
        assert _warnings(data.config(val_evaluator=metric)) == []


def test_other_boxes_of_the_same_images_are_a_warning(data: Set) -> None:
    content = json.loads((data.folder / "val.json").read_text())
    content["annotations"][0]["bbox"] = [11.0, 20.0, 30.0, 40.0]
    (data.folder / "better.json").write_text(json.dumps(content))
    metric = dict(type="CocoMetric", ann_file=str(data.folder / "better.json"))
    config = data.config(val_evaluator=metric)
    assert _errors(config) == []
    (warning,) = _warnings(config)
    assert "2 boxes of 4 differ" in warning


def test_other_categories_are_an_error(data: Set) -> None:
    content = json.loads((data.folder / "val.json").read_text())
    content["categories"][0]["name"] = "nothing"
    (data.folder / "other.json").write_text(json.dumps(content))
    metric = dict(type="CocoMetric", ann_file=str(data.folder / "other.json"))
    (error,) = _errors(data.config(val_evaluator=metric))
    assert "thing" in error and "nothing" in error


def test_a_part_of_the_images_is_not_what_the_evaluator_scores(data: Set) -> None:
    part = data.dataset("val", test_mode=True, indices=3)
    (error,) = _errors(data.config(val_dataloader=dict(batch_size=2, dataset=part)))
    assert "reads 3 of" in error and "this file has 4" in error


def test_an_evaluator_of_a_part_of_the_images(data: Set) -> None:
    content = json.loads((data.folder / "val.json").read_text())
    del content["images"][3], content["annotations"][3]
    (data.folder / "part.json").write_text(json.dumps(content))
    metric = dict(type="CocoMetric", ann_file=str(data.folder / "part.json"))
    (error,) = _errors(data.config(val_evaluator=metric))
    assert "this file has 3" in error and "reads 4 of" in error and "3 are the same" in error


def test_a_missing_annotation_file_of_an_evaluator(data: Set) -> None:
    """Training reads the one of val alone; kdkit test that of test."""
    metric = dict(type="CocoMetric", ann_file=str(data.folder / "gone.json"))
    (error,) = _errors(data.config(val_evaluator=metric))
    assert "val_evaluator" in error and "gone.json is missing" in error
    config = data.config(test_evaluator=metric)
    assert _errors(config) == []
    (warning,) = _warnings(config)
    assert "gone.json is missing" in warning
    with pytest.raises(ValueError, match="gone.json is missing"):
        TASK.check_test(config)


def test_val_equal_to_train_is_an_error_without_the_flag(data: Set) -> None:
    changes = dict(
        val_dataloader=dict(batch_size=2, dataset=data.dataset("train", test_mode=True)),
        val_evaluator=dict(type="CocoMetric", ann_file=str(data.folder / "train.json")),
    )
    (error,) = _errors(data.config(**changes))
    assert "4 of the 4 images of the val data" in error and "allow_val_on_train = True" in error
    with pytest.raises(ValueError, match="must not be trained on"):
        TASK.check_data(data.config(**changes))
    config = data.config(**changes, allow_val_on_train=True)
    assert _errors(config) == []
    assert any("warning: " in line and "4 of the 4" in line for line in TASK.check_data(config))
    loader = copy.deepcopy(data.config().train_dataloader)
    assert len(_errors(data.config(**{**changes, "val_dataloader": loader}))) == 1


def test_some_training_images_among_those_of_val_are_a_warning(data: Set) -> None:
    data.write("val", [100, 101, 102, 103], seeds=[1, 101, 102, 103])
    config = data.config()
    assert _errors(config) == []
    (warning,) = _warnings(config)
    assert "1 of the 4 images of the val data" in warning
    assert "train/1.png" in warning and "val/100.png" in warning


def test_val_and_test_that_are_the_same_are_said_once(data: Set) -> None:
    data.write("val", [100, 101], seeds=[1, 101])
    changes = data.config()
    changes.test_dataloader = changes.val_dataloader
    changes.test_evaluator = changes.val_evaluator
    assert len([line for line in TASK.check_data(changes) if "warning" in line]) == 1


def test_no_boxes_at_all(data: Set) -> None:
    data.write("train", range(4), change=lambda content: content["annotations"].clear())
    config = data.config()
    assert _errors(config) == []
    (warning,) = _warnings(config)
    assert "training needs boxes" in warning
    config.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    (error,) = _errors(config)
    assert "training needs images" in error
    data.write("train", range(4))
    data.write("val", range(4, 8), change=lambda content: content["annotations"].clear())
    config = data.config()
    assert _errors(config) == []
    (warning,) = _warnings(config)
    assert "no box is of a class of the config" in warning


@pytest.mark.parametrize(
    ("filters", "left"),
    [(dict(min_size=101), 0), (dict(min_size=100), 4), (dict(filter_empty_gt=True), 4)],
)
def test_filters_that_leave_no_image(data: Set, filters: dict[str, Any], left: int) -> None:
    config = data.config()
    config.train_dataloader.dataset.filter_cfg = filters
    assert len(_errors(config)) == (left == 0)


def test_a_batch_that_drop_last_leaves_out(data: Set) -> None:
    config = data.config()
    config.train_dataloader.update(batch_size=5, drop_last=True)
    (error,) = _errors(config)
    assert "batch_size is 5 and there are 4 images" in error
    one = config.train_dataloader.dataset
    config.train_dataloader.dataset = dict(type="RepeatDataset", times=2, dataset=one)
    assert _errors(config) == []
    config.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[one, one])
    assert _errors(config) == []
    config.train_dataloader.dataset = dict(one, indices=3)
    config.train_dataloader.batch_size = 4
    (error,) = _errors(config)
    assert "there are 3 images" in error


def test_images_without_boxes_are_not_counted_where_they_are_filtered(data: Set) -> None:
    data.write("train", range(4), change=lambda content: content["annotations"].pop())
    config = data.config()
    config.train_dataloader.update(batch_size=4, drop_last=True)
    assert _errors(config) == []
    config.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    (error,) = _errors(config)
    assert "there are 3 images" in error


def test_nothing_to_score(data: Set) -> None:
    data.write("val", [])
    (error,) = _errors(data.config(val_evaluator=dict(type="CocoMetric")))
    assert "a score needs images" in error


@pytest.fixture
def flat(tmp_path: Path) -> Callable[..., Config]:
    """A VOC training set with one box without width, and a model and settings for it."""
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "JPEGImages/a.jpg")
    corners = "<xmin>{}</xmin><ymin>9</ymin><xmax>{}</xmax><ymax>30</ymax>"
    text = "".join(
        f"<object><name>thing</name><bndbox>{corners.format(*box)}</bndbox></object>"
        for box in ((5, 20), (30, 40), (9, 9))
    )
    (tmp_path / "Annotations/a.xml").write_text(f"<annotation>{text}</annotation>")
    (tmp_path / "train.txt").write_text("a")

    def make(coder: str, pipeline: tuple[str, ...] = (), **filters: Any) -> Config:
        dataset = dict(
            type="VOCDataset", data_root=str(tmp_path), ann_file="train.txt",
            data_prefix=dict(sub_data_root=""), metainfo=dict(classes=("thing",)),
            pipeline=[dict(type=name) for name in pipeline], filter_cfg=filters,
        )  # fmt: skip
        head = dict(bbox_head=dict(bbox_coder=dict(type=coder)))
        return Config(dict(model=head, train_dataloader=dict(batch_size=1, dataset=dataset)))

    return make


def test_boxes_without_width_that_make_the_loss_nan_are_an_error(flat: Any) -> None:
    (error,) = _errors(flat("DeltaXYWHBBoxCoder"))
    assert "1 do not" in error and "bbox_min_size=1" in error
    for good in (
        flat("DeltaXYWHBBoxCoder", bbox_min_size=1),
        flat("DeltaXYWHBBoxCoder", ("LoadImageFromFile", "FilterAnnotations")),
    ):
        assert _errors(good) == _warnings(good) == []
    other = flat("DistancePointBBoxCoder")
    assert _errors(other) == []
    (warning,) = _warnings(other)
    assert "1 do not" in warning


def test_a_box_without_width_does_make_the_loss_nan(tiny: Any) -> None:
    """Reason for the check: if mmdet no longer does this, it can go."""
    model = tiny.build(tiny.faster_rcnn()).train()
    assert "DeltaXYWHBBoxCoder" in str(tiny.faster_rcnn())
    batch = tiny.batch(model)
    torch.manual_seed(0)  # mmdet samples boxes at random
    assert torch.isfinite(model(**batch, mode="loss")["loss_bbox"])
    batch["data_samples"][0].gt_instances.bboxes[0] = torch.tensor([10.0, 10.0, 10.0, 30.0])
    assert not torch.isfinite(model(**batch, mode="loss")["loss_bbox"])
