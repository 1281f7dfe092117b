"""kdkit embed."""

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from kd_engine.config.file import read_config
from kd_engine.evaluate import build_model, load_checkpoint_into
from kd_retrieval.cached_teacher import StoredEmbeddings
from kd_retrieval.embeddings.stored import read_embeddings

TOY = runpy.run_path(str(Path(__file__).parents[1] / "kd_retrieval/toy_retrieval.py"))


LOST = "test_dataloader.dataset.data_root=lost"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return TOY["make"](tmp_path_factory.mktemp("toy"))


def embeddings_by_hand(toy, part="student", split="test", batch=5):
    """Embed batch by batch: float32 convolutions round by the size of the batch."""
    config = Config.fromfile(toy.config)
    model = build_model(config, config[part])
    load_checkpoint_into(model, str(getattr(toy, part)))
    data = TOY["ToyImages"](toy.root, split, config.resize)
    images = torch.stack([data[row]["inputs"] for row in range(len(data))]).split(batch)
    inputs = [model.data_preprocessor({"inputs": one}, False)["inputs"] for one in images]
    with torch.no_grad():
        return data, torch.cat([model.eval()(one) for one in inputs]).numpy()


@pytest.mark.parametrize("name", ["student.npz", "student"])
def test_the_test_data_in_order(toy, run_tool, tmp_path, name):
    out = tmp_path / name
    code, text, error = run_tool("embed", toy.config, toy.student, out, "--batch-size", "5")
    assert code == 0, error
    assert "24 embeddings of the test data as float32" in text and "random" not in error
    data, wanted = embeddings_by_hand(toy)
    found = read_embeddings(out)
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-6)
    np.testing.assert_array_equal(found.ids, data.ids)
    np.testing.assert_array_equal(found.labels, data.labels)
    assert found.paths[0] == "2/0.png" and found.class_names == TOY["NAMES"]
    assert found.key.data == data.fingerprint() and found.key.transform == data.transform_key()
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert np.ptp(found.vectors, axis=0).min() > 0.01


def test_nothing_is_done_twice(toy, run_tool, tmp_path):
    out = tmp_path / "student.npz"
    run_tool("embed", toy.config, toy.student, out)
    before = out.stat().st_mtime_ns
    code, text, _ = run_tool("embed", toy.config, toy.student, out, "--overwrite")
    assert code == 0 and "there already, same key" in text
    assert out.stat().st_mtime_ns == before


def test_changed_weights_are_named_and_replaced_only_when_asked(toy, run_tool, tmp_path):
    out, other = tmp_path / "student", tmp_path / "other.pth"
    run_tool("embed", toy.config, toy.student, out)
    content = torch.load(toy.student, weights_only=True)
    content["state_dict"]["projection.bias"] += 1
    torch.save(content, other)
    code, _, error = run_tool("embed", toy.config, other, out)
    assert code == 1 and "another checkpoint" in error and "another data" not in error
    old = read_embeddings(out).vectors.copy()
    code, _, error = run_tool("embed", toy.config, other, out, "--overwrite")
    assert code == 0, error
    assert np.abs(read_embeddings(out).vectors - old).max() > 0.01


def test_changed_data_transforms_and_model_are_named(toy, run_tool, tmp_path):
    out, root = tmp_path / "student.npz", tmp_path / "images"
    run_tool("embed", toy.config, toy.student, out)
    shutil.copytree(toy.root, root)
    moved = ("--cfg-options", f"test_dataloader.dataset.data_root={root}")
    code, text, _ = run_tool("embed", toy.config, toy.student, out, *moved)
    assert code == 0 and "same key" in text  # the same files elsewhere
    Image.new("RGB", (99, 99)).save(root / "3/0.png")
    code, _, error = run_tool("embed", toy.config, toy.student, out, *moved)
    assert code == 1 and "another data" in error
    for option, part in (
        ("test_dataloader.dataset.transforms.0.size=[24,24]", "transform"),
        ("model.student.normalize=False", "model"),
    ):
        code, _, error = run_tool("embed", toy.config, toy.student, out, "--cfg-options", option)
        assert code == 1 and f"another {part} " in error, error


def test_the_same_weights_in_another_file_are_the_same(toy, run_tool, tmp_path):
    out, alone = tmp_path / "student.npz", tmp_path / "alone.pth"
    run_tool("embed", toy.config, toy.student, out)
    weights = torch.load(toy.student, weights_only=True)["state_dict"]
    torch.save({k: v for k, v in weights.items() if not k.startswith("distiller.")}, alone)
    code, text, error = run_tool("embed", toy.config, alone, out)
    assert code == 0 and "same key" in text, error


def test_the_teacher_embeds_the_training_data_for_later(toy, run_tool, tmp_path):
    out = tmp_path / "teacher"
    train = ("--split", "train", "--transforms-of", "test")
    code, text, error = run_tool("embed", toy.config, out, "--teacher", "--half", *train)
    assert code == 0, error
    assert "16 embeddings of the train data as float16" in text and "random" not in error
    data, wanted = embeddings_by_hand(toy, "teacher", "train")
    teacher = StoredEmbeddings(str(out))
    teacher.check(data)
    some = [3, 0, 15]
    found = teacher(torch.zeros(3, 3, 32, 32), ids=torch.from_numpy(data.ids[some]))
    np.testing.assert_allclose(found.numpy(), wanted[some], atol=1e-3)
    with pytest.raises(ValueError, match="has none for 24 ids"):
        teacher.check(TOY["ToyImages"](toy.root, "test"))


def test_random_transforms_are_noticed(toy, run_tool, tmp_path):
    code, _, error = run_tool(
        "embed", toy.config, toy.student, tmp_path / "x.npz", "--split", "train"
    )
    assert code == 0 and "warning: the transforms RandomHorizontalFlip look random" in error


def test_a_stored_teacher_stands_in_for_the_network(toy, run_tool, tmp_path):
    run_tool("embed", toy.config, tmp_path / "teacher", "--teacher", "--split", "train",
             "--transforms-of", "test")  # fmt: skip
    config = Config.fromfile(toy.config)
    config.model.teacher = dict(
        config=dict(
            type="kd_retrieval.cached_teacher.StoredEmbeddings", file=str(tmp_path / "teacher")
        ),
        checkpoint=None,
    )
    config.model.terms.pop("maps")
    model = build_model(config, config.model).train()
    data = TOY["ToyImages"](toy.root, "train", config.resize)
    images = torch.stack([data[i]["inputs"] for i in range(4)])
    batch = model.data_preprocessor(
        dict(inputs=images, labels=torch.tensor([0, 0, 1, 1]), ids=torch.from_numpy(data.ids[:4])),
        True,
    )
    losses = model(**batch, mode="loss")
    assert float(losses["loss_distances"].detach()) > 0 and "loss_metric" in losses
    batch["ids"] = batch["ids"] + 10**6
    with pytest.raises(ValueError, match="has none for 4 ids"):
        model(**batch, mode="loss")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{student}", "x.csv"), ".npz"),
        (("x.npz",), "a checkpoint is needed"),
        (("{teacher}", "x.npz"), "does not fit"),
        (("{student}", "x.npz", "--cfg-options", "test_dataloader=None"), "has none"),
        (("{student}", "x.npz", "--image-folder", "lost"), "folder of images lost is missing"),
        (("{student}", "x.npz", "--cfg-options", LOST), "missing"),
    ],
)
def test_bad_requests(toy, run_tool, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    named = [one.format(student=toy.student, teacher=toy.teacher) for one in arguments]
    code, _, error = run_tool("embed", toy.config, *named)
    assert code == 1 and message in error, error
    assert list(tmp_path.iterdir()) == []


def test_new_images_of_a_folder(toy, run_tool, tmp_path):
    out, folder = tmp_path / "new.npz", tmp_path / "new"
    shutil.copytree(toy.root / "3", folder / "duck")
    shutil.copy(toy.root / "2/0.png", folder / "what.png")
    code, text, error = run_tool("embed", toy.config, toy.student, out, "--image-folder", folder)
    assert code == 0 and f"9 embeddings of {folder} as float32" in text, error
    found, config = read_embeddings(out), Config.fromfile(toy.config)
    shown = [Image.open(folder / path).resize((32, 32), Image.BILINEAR) for path in found.paths]
    images = torch.stack([pil_to_tensor(image) for image in shown])
    model = build_model(config, config.student).eval()
    load_checkpoint_into(model, str(toy.student))
    with torch.no_grad():
        wanted = model(model.data_preprocessor({"inputs": images}, False)["inputs"]).numpy()
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-6)
    assert found.paths[0] == "duck/0.png" and found.paths[8] == "what.png"
    assert found.class_names == ("", "duck") and found.labels.tolist() == [1] * 8 + [0]
    assert found.ids.max() < 0
    (folder / "bad.png").write_bytes(b"no image")
    again = ("embed", toy.config, toy.student, tmp_path / "other.npz", "--image-folder", folder)
    code, _, error = run_tool(*again)
    assert code == 1 and "bad.png cannot be decoded" in error
    assert not (tmp_path / "other.npz").exists()


DIGITS = """
_base_ = "{base}"
model = dict({more})
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""
STORED = """
    teacher=dict(
        _delete_=True,
        config=dict(type="kd_retrieval.StoredEmbeddings", file="{file}"),
        checkpoint=None,
    )
"""


@pytest.fixture
def digits(tmp_path, run_tool):
    """Teacher's weights, embeddings of the training data, and a config that reads them."""
    base = ROOT / "configs/retrieval/rkd.py"
    config = Config.fromfile(base)
    teacher = read_config(config.model.teacher.config).model
    torch.manual_seed(0)
    weights = tmp_path / "teacher.pth"
    torch.save(dict(state_dict=build_model(config, teacher).state_dict()), weights)

    def embed(name, *options):
        code, _, error = run_tool(
            "embed", base, weights, tmp_path / name, "--teacher", *options, "--transforms-of",
            "test", "--batch-size", "256", "--cfg-options",
            f"model.teacher.config={config.model.teacher.config}",
        )  # fmt: skip
        assert code == 0, error
        more = STORED.format(file=tmp_path / name)
        (tmp_path / f"{name}.py").write_text(DIGITS.format(base=base, more=more))
        return tmp_path / f"{name}.py"

    return embed


def test_a_student_trains_under_a_stored_teacher(digits, run_tool, tmp_path):
    config = digits("stored", "--split", "train")
    code, _, error = run_tool("train", config, "--work-dir", tmp_path / "run")
    assert code == 0, error
    weights = torch.load(tmp_path / "run/epoch_1.pth", weights_only=False)["state_dict"]
    plain = {key for key in weights if not key.startswith("distiller.")}
    assert plain == set(build_model(Config.fromfile(config), student_of(config)).state_dict())
    (log,) = (tmp_path / "run").glob("*/*.log")
    lines = [line for line in log.read_text().splitlines() if "loss_distance" in line]
    assert len(lines) >= 2
    losses = [float(re.search(r"loss_distance: ([\d.]+)", line)[1]) for line in lines]
    assert losses[0] > losses[-1] > 0


def test_a_stored_teacher_of_other_data_stops_the_training(digits, run_tool, tmp_path):
    config = digits("stored", "--split", "test")
    code, _, error = run_tool("train", config, "--work-dir", tmp_path / "run")
    assert code == 1 and "has none for 1083 ids" in error


def student_of(config):
    return Config.fromfile(config).model.student


def test_images_of_several_classes_are_refused(toy, run_tool, tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,label,split\n2/0.png,red;round,test\n2/1.png,red,test\n"
    )
    changes = (
        "test_dataloader.dataset.type=kd_retrieval.CSVFile",
        f"test_dataloader.dataset.ann_file={tmp_path / 'list.csv'}",
    )
    out = tmp_path / "x.npz"
    code, _, error = run_tool("embed", toy.config, toy.student, out, "--cfg-options", *changes)
    assert code == 1 and "one class for each image, but 2 have several, first 2/0.png" in error
    assert not out.exists()


def test_data_of_another_task_is_refused(toy, run_tool, tmp_path):
    code, _, error = run_tool(
        "embed", toy.config, toy.student, tmp_path / "x.npz", "--cfg-options",
        "test_dataloader.dataset._delete_=True",
        "test_dataloader.dataset.type=torchvision.datasets.FakeData",
    )  # fmt: skip
    assert code == 1 and "must come from a dataset of kd_retrieval, but FakeData has no" in error


def test_images_of_several_sizes_are_refused(toy, run_tool, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(toy.root, root)
    Image.new("RGB", (99, 99)).save(root / "3/0.png")
    code, _, error = run_tool(
        "embed", toy.config, toy.student, tmp_path / "x.npz", "--cfg-options",
        f"test_dataloader.dataset.data_root={root}", "test_dataloader.dataset.transforms=[]",
    )  # fmt: skip
    assert code == 1 and "images must have one size" in error
    assert not (tmp_path / "x.npz").exists()
