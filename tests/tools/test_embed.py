"""tools/embed.py."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd_retrieval.embeddings import read_embeddings
from kd_retrieval.stored import StoredEmbeddings

TOY = runpy.run_path(str(Path(__file__).parents[1] / "kd_retrieval/toy_retrieval.py"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return TOY["make"](tmp_path_factory.mktemp("toy"))


def embeddings_by_hand(toy, part="student", split="test"):
    """Embed one picture after another."""
    from mmengine.config import Config

    from kd_engine.student import build_model, load_checkpoint_into

    config = Config.fromfile(toy.config)
    model = build_model(config, config[part])
    load_checkpoint_into(model, str(getattr(toy, part)))
    data = TOY["ToyPictures"](toy.root, split, config.resize)
    inputs = [model.data_preprocessor({"inputs": one["inputs"][None]}, False)["inputs"] for one in data]
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
    out, root = tmp_path / "student.npz", tmp_path / "pictures"
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
        code, _, error = run_tool(
            "embed", toy.config, toy.student, out, "--cfg-options", option
        )
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
    code, text, error = run_tool(
        "embed", toy.config, out, "--teacher", "--split", "train", "--transforms-of", "test", "--half"
    )
    assert code == 0, error
    assert "16 embeddings of the train data as float16" in text and "random" not in error
    data, wanted = embeddings_by_hand(toy, "teacher", "train")
    teacher = StoredEmbeddings(str(out))
    teacher.check(data)
    some = [3, 0, 15]
    found = teacher(torch.zeros(3, 3, 32, 32), ids=torch.from_numpy(data.ids[some]))
    np.testing.assert_allclose(found.numpy(), wanted[some], atol=1e-3)
    with pytest.raises(ValueError, match="has none for 24 ids"):
        teacher.check(TOY["ToyPictures"](toy.root, "test"))


def test_random_transforms_are_noticed(toy, run_tool, tmp_path):
    code, _, error = run_tool(
        "embed", toy.config, toy.student, tmp_path / "x.npz", "--split", "train"
    )
    assert code == 0 and "warning: the transforms RandomHorizontalFlip look random" in error


def test_a_stored_teacher_stands_in_for_the_network(toy, run_tool, tmp_path):
    from mmengine.config import Config

    from kd_engine.student import build_model

    run_tool("embed", toy.config, tmp_path / "teacher", "--teacher", "--split", "train",
             "--transforms-of", "test")  # fmt: skip
    config = Config.fromfile(toy.config)
    config.model.teacher = dict(
        config=dict(type="kd_retrieval.stored.StoredEmbeddings", file=str(tmp_path / "teacher")),
        checkpoint=None,
    )
    config.model.terms.pop("maps")
    model = build_model(config, config.model).train()
    data = TOY["ToyPictures"](toy.root, "train", config.resize)
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
        (("{student}", "x.npz", "--cfg-options", "test_dataloader.dataset.data_root=lost"), "missing"),
    ],
)
def test_bad_requests(toy, run_tool, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    named = [one.format(student=toy.student, teacher=toy.teacher) for one in arguments]
    code, _, error = run_tool("embed", toy.config, *named)
    assert code == 1 and message in error, error
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_several_sizes_are_refused(toy, run_tool, tmp_path):
    root = tmp_path / "pictures"
    shutil.copytree(toy.root, root)
    Image.new("RGB", (99, 99)).save(root / "3/0.png")
    code, _, error = run_tool(
        "embed", toy.config, toy.student, tmp_path / "x.npz", "--cfg-options",
        f"test_dataloader.dataset.data_root={root}", "test_dataloader.dataset.transforms=[]",
    )  # fmt: skip
    assert code == 1 and "images must have one size" in error
    assert not (tmp_path / "x.npz").exists()
