"""Errors in the data of a config are reported before it trains or scores."""

import shutil

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from kd_engine.doctor.data_warnings import warnings_among
from kd_retrieval.datasets import CSVFile, LabeledFolder
from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings, write_embeddings
from kd_retrieval.task import TASK

DIGITS = dict(type="kd_retrieval.BuiltInDigits")
TRUNK = dict(type="kd_retrieval.TimmTrunk", name="resnet18", options=dict(channels=(4, 4, 8, 8)))
STUDENT = dict(type="kd_retrieval.Embedder", trunk=TRUNK, dim=6)


def config(train=None, test=None, model=STUDENT, **changes):
    train, test = train or dict(DIGITS, split="trainval"), test or dict(DIGITS, split="test")
    metric = dict(type="kd_retrieval.RecallMetric")
    return Config(dict(
        model=model, train_dataloader=dict(dataset=train), val_dataloader=dict(dataset=test),
        test_dataloader=dict(dataset=test), val_evaluator=metric, test_evaluator=metric, **changes,
    ))  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Four classes of two images."""
    for row in range(8):
        path = tmp_path / f"data/{'abcd'[row // 2]}/{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), 20 * row).save(path)
    return tmp_path / "data"


def folders(folder, **options):
    data = dict(type="kd_retrieval.LabeledFolder", data_root=str(folder), test_classes=2)
    return dict(data, split="trainval", **options), dict(data, split="test", **options)


def csv_file(folder, *lines):
    (folder / "list.csv").write_text("path,label,split,role\n" + "\n".join(lines))
    data = dict(type="kd_retrieval.CSVFile", data_root=str(folder), ann_file="list.csv")
    return dict(data, split="trainval"), dict(data, split="test")


def test_a_line_for_each_split():
    assert TASK.check_data(config(), images=True) == [
        "train: BuiltInDigits, 1,083 images of 6 classes",
        "val+test: BuiltInDigits, 714 images of 4 classes",
        "every image decodes",
    ]


def test_a_method_without_a_teacher_has_the_same_lines():
    peers = dict(type="kd_retrieval.DML", student=STUDENT, peers=[STUDENT])
    assert TASK.check_data(config(model=peers)) == TASK.check_data(config())


def test_queries_and_gallery_are_counted(folder):
    data = csv_file(
        folder, "a/0.png,a,train,", "a/1.png,a,train,", "b/2.png,b,train,", "c/4.png,c,test,query",
        "c/5.png,c,test,gallery", "d/6.png,d,test,both", "d/7.png,d,test,gallery",
    )  # fmt: skip
    assert TASK.check_data(config(*data))[1] == (
        "val+test: CSVFile, 4 images of 2 classes, 2 queries, 3 in the gallery"
    )


@pytest.mark.parametrize("check", [TASK.check_data, TASK.check_test])
def test_classes_of_both_splits_are_refused_without_a_flag(check):
    overlapping = config(test=dict(DIGITS, split="val"))
    with pytest.raises(ValueError, match="share 2 of 2, such as 4, 5. .*allow_shared_classes"):
        check(overlapping)
    for name in ("val", "test"):
        overlapping[f"{name}_evaluator"].allow_shared_classes = True
    check(overlapping)
    overlapping.test_evaluator = [dict(type="kd_retrieval.RecallMetric")]
    with pytest.raises(ValueError, match="train and test data share 2"):
        check(overlapping)


def test_a_test_needs_no_training_data(folder, tmp_path):
    train, test = folders(folder)
    TASK.check_test(config(dict(train, data_root=str(tmp_path / "gone")), test))
    with pytest.raises(FileNotFoundError, match="gone is missing"):
        TASK.check_data(config(dict(train, data_root=str(tmp_path / "gone")), test))


def test_images_that_do_not_decode_are_named(folder):
    data = folders(folder)
    (folder / "d/7.png").write_bytes((folder / "d/7.png").read_bytes()[:40])
    assert len(TASK.check_data(config(*data))) == 2  # only --images decodes
    with pytest.raises(ValueError, match=r"1 of the 4 of the val data do not: .*7\.png cannot be"):
        TASK.check_data(config(*data), images=True)
    (folder / "a/0.png").write_text("")
    with pytest.raises(ValueError, match=r"1 of the 4 of the train data do not: .*0\.png"):
        TASK.check_data(config(*data), images=True)


def test_proxies_for_another_number_of_classes():
    def proxies(count):
        loss = dict(type="ProxyAnchorLoss", num_classes=count, embedding_size=6)
        return dict(STUDENT, criterion=dict(loss=loss))

    TASK.check_data(config(model=proxies(6)))
    teacher = dict(config=STUDENT, checkpoint=None)
    distilled = dict(
        type="kd_retrieval.DistilledEmbedder", student=proxies(10), teacher=teacher, terms={}
    )
    for model in (proxies(10), distilled):
        with pytest.raises(ValueError, match="num_classes=10, but the training data has 6 classes"):
            TASK.check_data(config(model=model))


def stored_teacher(path):
    return dict(
        type="kd_retrieval.DistilledEmbedder", student=STUDENT, terms={},
        teacher=dict(config=dict(type="kd_retrieval.StoredEmbeddings", file=str(path)),
                     checkpoint=None),
    )  # fmt: skip


def store(data, path, ids=None):
    ids = data.ids if ids is None else ids
    zeros = np.zeros(len(ids), np.int64)
    write_embeddings(path, Embeddings(
        vectors=np.ones((len(ids), 2), np.float32), labels=zeros, roles=zeros, ids=ids,
        paths=tuple(map(str, ids)), class_names=("x",), key=EmbeddingKey(data=data.fingerprint()),
    ))  # fmt: skip


def test_a_file_of_the_teacher_must_be_of_the_training_data(folder, tmp_path):
    train, test = folders(folder)
    options = {key: value for key, value in train.items() if key != "type"}
    file = tmp_path / "teacher.npz"
    given = config(train, test, stored_teacher(file))
    with pytest.raises(FileNotFoundError, match="no embeddings"):
        TASK.check_data(given)
    store(LabeledFolder(**options), file)
    TASK.check_data(given)
    Image.new("RGB", (60, 50)).save(folder / "a/0.png")
    with pytest.raises(ValueError, match="teacher.npz is stale: it was made from another data"):
        TASK.check_data(given)
    store(LabeledFolder(**options), file, np.arange(3))
    with pytest.raises(ValueError, match="has none for 1 ids, first 3"):
        TASK.check_data(given)


def test_a_config_file_may_name_the_stored_teacher(folder, tmp_path):
    train, test = folders(folder)
    model = stored_teacher(tmp_path / "none.npz")
    (tmp_path / "teacher.py").write_text(f"model = {model['teacher']['config']!r}\n")
    model["teacher"]["config"] = str(tmp_path / "teacher.py")
    with pytest.raises(FileNotFoundError, match="none.npz"):
        TASK.check_data(config(train, test, model))


@pytest.mark.parametrize("check", [TASK.check_data, TASK.check_test])
def test_several_labels_need_their_own_batches(folder, check):
    data = csv_file(
        folder, "a/0.png,a,train,", "a/1.png,a,train,", "b/2.png,b,train,", "c/4.png,c;e,test,",
        "c/5.png,c,test,",
    )  # fmt: skip
    given = config(*data)
    assert CSVFile(**{k: v for k, v in data[1].items() if k != "type"}).labels == [(0, 1), (0,)]
    given.test_dataloader.collate_fn = dict(type="default_collate")
    with pytest.raises(ValueError, match="several labels each.*collate_fn=dict.type='kd_retr"):
        check(given)
    for name in ("val", "test"):
        given[f"{name}_dataloader"].collate_fn = dict(type="kd_retrieval.collate")
    check(given)


def test_training_images_under_another_class_are_a_warning(folder):
    settings = config(*folders(folder))
    assert not warnings_among(TASK.check_data(settings))
    shutil.copy(folder / "a/0.png", folder / "c/4.png")
    (warning,) = warnings_among(TASK.check_data(settings))
    assert "1 of the 4 images of the val data are training images" in warning
    for one, other in (("a/1", "c/5"), ("b/2", "d/6"), ("b/3", "d/7")):
        shutil.copy(folder / f"{one}.png", folder / f"{other}.png")
    with pytest.raises(ValueError, match="4 of the 4 .* allow_val_on_train = True"):
        TASK.check_data(settings)
    settings.allow_val_on_train = True
    assert len(warnings_among(TASK.check_data(settings))) == 1


def test_a_batch_that_drop_last_leaves_out_is_refused(folder):
    settings = config(*folders(folder))
    settings.train_dataloader.update(batch_size=5, drop_last=True)
    with pytest.raises(ValueError, match="batch_size is 5 and there are 4 images"):
        TASK.check_data(settings)
