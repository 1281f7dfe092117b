"""kdkit export-onnx."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from kd_engine.evaluate import build_model, load_checkpoint_into
from kd_retrieval.onnx_export import OnnxEmbedder
from kd_retrieval.recall.at_k import recall_at_k

TOY = runpy.run_path(str(Path(__file__).parents[1] / "kd_retrieval/toy_retrieval.py"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return TOY["make"](tmp_path_factory.mktemp("toy"))


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32)).astype(np.float32)


def by_torch(toy, part, given):
    config = Config.fromfile(toy.config)
    model = build_model(config, config[part]).eval()
    load_checkpoint_into(model, str(getattr(toy, part)))
    with torch.no_grad():
        inputs = model.data_preprocessor({"inputs": torch.from_numpy(given)}, False)["inputs"]
        return model(inputs).numpy()


@pytest.mark.parametrize("part", ["student", "teacher"])
def test_a_network_of_a_distillation_config(toy, run_tool, tmp_path, part):
    out = tmp_path / "below/net.onnx"
    which = (toy.student, out) if part == "student" else (out, "--teacher")
    code, text, error = run_tool("export-onnx", toy.config, *which)
    assert code == 0, error
    assert "images 32 x 32" in text and "ok: 24 images of the test data" in text
    found = re.findall(r"recall@(\d)  original ([\d.]+)  exported ([\d.]+)", text)
    assert [k for k, _, _ in found] == list("1248") and all(one == two for _, one, two in found)
    exported = OnnxEmbedder(out)
    for count in (1, 7):
        wanted = by_torch(toy, part, images(count))
        np.testing.assert_allclose(exported(images(count)), wanted, atol=1e-4)
    assert exported.metadata["height"] == "32" and len(exported.metadata["weights_sha256"]) == 64
    assert "RGB from 0 to 255" in exported.metadata["input"]
    assert [path.name for path in out.parent.iterdir()] == ["net.onnx"]


def test_without_the_teachers_checkpoint(toy, run_tool, tmp_path):
    lost = "model.teacher.checkpoint=lost.pth"
    out = tmp_path / "net.onnx"
    code, text, error = run_tool(
        "export-onnx", toy.config, toy.student, out, "--cfg-options", lost, "--limit", "12"
    )
    assert code == 0 and "ok: 12 images" in text, error


def test_without_the_data_recall_is_not_compared(toy, run_tool, tmp_path):
    out = tmp_path / "net.onnx"
    for change in ("test_dataloader.dataset.data_root=lost", "test_dataloader=None"):
        code, text, error = run_tool(
            "export-onnx", toy.config, toy.student, out, "--size", "40", "32", "--no-preprocessing",
            "--overwrite", "--cfg-options", change,
        )  # fmt: skip
        assert code == 0 and "images 40 x 32" in text, error
        assert "ok: 4 random images" in text and "recall was not compared" in text
    assert OnnxEmbedder(out).metadata["preprocessing"] == "not included"
    with pytest.raises(ValueError, match=r"onnxruntime fails on images \(1, 3, 32, 32\)"):
        OnnxEmbedder(out)(images(1))


def test_recall_of_images_of_several_classes_with_roles(toy, run_tool, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(toy.root, root)
    lines, labels, pictures = ["path,label,split,role"], [], []
    for label in (2, 3):
        for number in range(8):
            role = "query" if number < 3 else "gallery"
            lines.append(f"{label}/{number}.png,{label};{number % 4},test,{role}")
            labels.append((label, 10 + number % 4))
            picture = Image.open(root / f"{label}/{number}.png").resize((32, 32))
            picture.save(root / f"{label}/{number}.png")
            pictures.append(np.asarray(picture).transpose(2, 0, 1))
    (root / "list.csv").write_text("\n".join(lines))
    code, text, error = run_tool(
        "export-onnx", toy.config, toy.student, tmp_path / "net.onnx", "--cfg-options",
        "test_dataloader.dataset.type=kd_retrieval.CSVFile",
        "test_dataloader.dataset.ann_file=list.csv", f"test_dataloader.dataset.data_root={root}",
    )  # fmt: skip
    assert code == 0, error
    vectors = by_torch(toy, "student", np.stack(pictures).astype(np.float32))
    asked = np.array([row % 8 < 3 for row in range(16)])
    shares = recall_at_k(
        vectors[asked], [labels[row] for row in np.flatnonzero(asked)],
        vectors[~asked], [labels[row] for row in np.flatnonzero(~asked)],
        query_ids=np.arange(6), gallery_ids=np.arange(6, 16),
    ).recall  # fmt: skip
    found = re.findall(r"recall@(\d)  original ([\d.]+)", text)
    assert found == [(str(k), f"{share:.4f}") for k, share in shares.items()]


def test_a_network_that_changes_under_onnxruntime_leaves_no_file(
    toy, run_tool, tmp_path, monkeypatch
):
    honest = OnnxEmbedder.__call__
    monkeypatch.setattr(OnnxEmbedder, "__call__", lambda self, x: honest(self, x)[:, ::-1].copy())
    code, _, error = run_tool("export-onnx", toy.config, toy.student, tmp_path / "net.onnx")
    assert code == 1 and "must embed as the original within 0.0001" in error
    assert list(tmp_path.iterdir()) == []


def test_another_recall_leaves_no_file(toy, run_tool, tmp_path, monkeypatch):
    shares = iter([{1: 0.5, 2: 0.75}, {1: 0.5, 2: 0.7}])
    monkeypatch.setattr("kd_retrieval.onnx_check._recall", lambda *_: next(shares))
    code, _, error = run_tool("export-onnx", toy.config, toy.student, tmp_path / "net.onnx")
    assert code == 1 and "the original's recall@2 0.7500, but it has 0.7000" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{student}", "net.pth"), "must end in .onnx"),
        (("net.onnx",), "a checkpoint is needed"),
        (("{teacher}", "net.onnx"), "does not fit"),
        (("{student}", "net.onnx", "--opset", "11"), "17 to 20, but it is 11"),
        (("{student}", "net.onnx", "--opset", "99"), "17 to 20, but it is 99"),
        (("{student}", "net.onnx", "--size", "0", "32"), "--size must be positive"),
        (("{student}", "net.onnx", "--limit", "0"), "--limit must be positive"),
        (("{student}", "net.onnx", "--limit", "2"), "Take more than 2 images"),
    ],
)
def test_bad_requests(toy, run_tool, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    named = [one.format(student=toy.student, teacher=toy.teacher) for one in arguments]
    code, _, error = run_tool("export-onnx", toy.config, *named)
    assert code == 1 and message in error, error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(toy, run_tool, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, error = run_tool("export-onnx", toy.config, toy.student, tmp_path / "net.onnx")
    assert code == 1 and f"needs {package}, " in error and "pip install 'kdkit[onnx]'" in error
    assert list(tmp_path.iterdir()) == []
