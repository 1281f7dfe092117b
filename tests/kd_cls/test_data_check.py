"""Errors in the data of a config are reported before it trains or scores."""

import shutil

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from kd_cls.task import TASK
from kd_engine.doctor.data_warnings import warnings_among

from .toy_classifiers import STUDENT, TEACHER

DIGITS = dict(type="kd_cls.BuiltInDigits")
NETWORK = dict(type="ToyNetwork", num_classes=3)
THREE = dict(type="kd_cls.Classifier", network=NETWORK)
KD = dict(kd=dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="logits"))


def config(train=None, test=None, model=None, val=None):
    train, test = train or dict(DIGITS, split="trainval"), test or dict(DIGITS, split="test")
    return Config(dict(
        model=model or dict(STUDENT, num_classes=10), train_dataloader=dict(dataset=train),
        val_dataloader=dict(dataset=val or test), test_dataloader=dict(dataset=test),
        default_scope="mmengine",
    ))  # fmt: skip


def distilled(teacher=TEACHER):
    return dict(type="kd_cls.DistilledClassifier", student=STUDENT,
                teacher=dict(config=teacher, checkpoint=None), terms=KD)  # fmt: skip


@pytest.fixture
def folders(tmp_path, draw):
    """Three classes in train, val and test."""
    for split in ("train", "val", "test"):
        for name in "abc":
            for number in range(2):
                draw(tmp_path / split / name / f"{number}.png")
    return {split: dict(type="kd_cls.ImageFolder", data_root=str(tmp_path), split=split)
            for split in ("train", "val", "test")}  # fmt: skip


def test_a_line_for_each_split(folders):
    assert TASK.check_data(config(), images=True) == [
        "train: BuiltInDigits, 1,438 images of 10 classes",
        "val+test: BuiltInDigits, 359 images of 10 classes",
        "every image decodes",
    ]
    lines = TASK.check_data(config(folders["train"], folders["test"], THREE, folders["val"]))
    assert lines == [f"{split}: ImageFolder, 6 images of 3 classes" for split in folders]


@pytest.mark.parametrize("model", [THREE, dict(THREE, network=dict(NETWORK, told=False),
                                               num_classes=3)])  # fmt: skip
def test_another_number_of_classes_is_refused(model):
    with pytest.raises(ValueError, match="model must have as many .* it has 3 and the train data "):
        TASK.check_data(config(model=model))
    with pytest.raises(ValueError, match="it has 3 and the test data has 10 .0, 1, 2"):
        TASK.check_test(config(model=model))


def test_a_count_that_no_config_says_is_the_built_models(folders):
    silent = dict(type="kd_cls.Classifier", network=dict(type="ToyNetwork"))
    TASK.check_test(config(model=silent))
    with pytest.raises(ValueError, match="it has 10 and the test data has 3"):
        TASK.check_test(config(test=folders["test"], model=silent))


def test_student_and_teacher_are_told_apart():
    wide = dict(TEACHER, network=dict(type="ToyNetwork", num_classes=12))
    lines = TASK.check_data(config(model=distilled(wide)))
    assert lines[-1] == "the teacher has 12 classes and the student 10"
    assert len(TASK.check_data(config(model=distilled()))) == 2
    TASK.check_test(config(model=distilled(wide)))
    with pytest.raises(ValueError, match="the teacher must .* it has 12 and the test data has 10"):
        TASK.check_test(config(model=distilled(wide)), teacher=True)


def test_all_data_must_have_the_same_classes(folders, draw, tmp_path):
    draw(tmp_path / "other/train/a/0.png")
    draw(tmp_path / "other/train/d/0.png")
    other = dict(folders["train"], data_root=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"train has 3 \(a, b, c\) and val 2 \(a, d\)"):
        TASK.check_data(config(folders["train"], other, THREE))


@pytest.mark.parametrize(
    ("train", "scored"), [("trainval", "val"), ("train", "train"), ("train", "trainval")]
)
def test_no_score_on_images_that_were_trained_on(train, scored):
    data = config(dict(DIGITS, split=train), val=dict(DIGITS, split=scored))
    with pytest.raises(ValueError, match="images of the val data are training images. Set another"):
        TASK.check_data(data)
    TASK.check_data(config(dict(DIGITS, split="train"), val=dict(DIGITS, split="val")))


def test_a_broken_image_is_found_by_decoding(folders, tmp_path):
    (tmp_path / "val/b/1.png").write_bytes(b"no image")
    given = config(folders["train"], folders["test"], THREE, folders["val"])
    TASK.check_data(given)
    with pytest.raises(ValueError, match=r"1 of the 6 of the val data do not: .*b/1.png"):
        TASK.check_data(given, images=True)


def test_a_dry_run_and_the_libraries():
    from kd_cls import Classifier

    from .toy_classifiers import ToyNetwork

    model = Classifier(ToyNetwork(), image_size=(24, 16)).train()
    shapes = []
    model.network.stage1.register_forward_hook(lambda _, args, out: shapes.append(out.shape))
    TASK.dry_run(model)
    model.image_size = None
    TASK.dry_run(model, (40, 48))
    TASK.dry_run(model)
    assert [tuple(shape[2:]) for shape in shapes] == [(12, 8), (20, 24), (16, 16)]
    assert model.training and model.network.stage1[1].num_batches_tracked == 0
    assert dict(TASK.environment())["timm"][0].isdigit()


@pytest.fixture
def noise(folders, tmp_path):
    """The same folders with images that differ; returns the files of a split."""
    rng = np.random.default_rng(0)
    for path in sorted(tmp_path.rglob("*.png")):
        Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).save(path)
    return lambda split: sorted((tmp_path / split).rglob("*.png"))


def test_training_images_among_those_of_val_are_a_warning(folders, noise):
    settings = config(folders["train"], folders["test"], THREE, folders["val"])
    assert not warnings_among(TASK.check_data(settings))
    shutil.copy(noise("train")[3], noise("val")[0])
    (warning,) = warnings_among(TASK.check_data(settings))
    assert "1 of the 6 images of the val data are training images" in warning
    assert str(noise("val")[0]) in warning


def test_nothing_but_training_images_needs_a_flag(folders, noise):
    settings = config(folders["train"], folders["test"], THREE, folders["val"])
    for one, other in zip(noise("train"), noise("val"), strict=True):
        shutil.copy(one, other)
    with pytest.raises(ValueError, match="6 of the 6 .* allow_val_on_train = True"):
        TASK.check_data(settings)
    settings.allow_val_on_train = True
    assert len(warnings_among(TASK.check_data(settings))) == 1


def test_images_with_the_ids_of_training_need_the_flag_too():
    settings = config(val=dict(DIGITS, split="trainval"))
    with pytest.raises(ValueError, match="1,438 of the 1,438 .* allow_val_on_train = True"):
        TASK.check_data(settings)
    settings.allow_val_on_train = True
    (warning,) = warnings_among(TASK.check_data(settings))
    assert "1,438 of the 1,438 images of the val data" in warning


def test_a_batch_that_drop_last_leaves_out_is_refused(folders):
    settings = config(folders["train"], folders["test"], THREE, folders["val"])
    settings.train_dataloader.update(batch_size=7, drop_last=True)
    with pytest.raises(ValueError, match="batch_size is 7 and there are 6 images"):
        TASK.check_data(settings)
    settings.train_dataloader.batch_size = 6
    TASK.check_data(settings)
