"""The configs that the docs tell users to copy do build."""

import re
from pathlib import Path

import pytest

import kd_cls
import kd_det
import kd_retrieval
from kd_engine.config.load import load_run_config

ROOT = Path(__file__).parents[1]


def write_blocks(page, folder):
    """Write every Python block whose first line names a file, and return the names."""
    names = []
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        if match := re.match(r"# (\w+\.py)", block):
            (folder / match[1]).write_text(block)
            names.append(match[1])
    return names


def build_student(folder, monkeypatch):
    monkeypatch.chdir(folder)
    config = load_run_config("my_student.py")
    config.model.teacher.checkpoint = None
    for model in (config.model, config.model.student):
        model.pop("init_cfg", None)
    config.model.student.backbone.init_cfg = None
    return config.model.student.type, kd_det.DistilledDetector(
        **{key: value for key, value in config.model.items() if key != "type"}
    )


def test_the_page_on_my_detector(tmp_path, monkeypatch):
    names = write_blocks("docs/your_detector.md", tmp_path)
    assert names == ["my_student_alone.py", "my_student.py"]
    (tmp_path / "my_teacher.py").write_text('_base_ = "my_student_alone.py"\n')
    kind, student = build_student(tmp_path, monkeypatch)
    assert type(student).__name__ == kind == "FasterRCNN"
    assert set(student.distiller.terms) == {"hmat", "asckd"}


def test_the_readme(tmp_path, monkeypatch):
    write_blocks("docs/your_detector.md", tmp_path)
    alone = tmp_path / "my_student_alone.py"
    for name in ("my_trained_small_detector.py", "my_large_detector.py"):
        (tmp_path / name).write_text(alone.read_text())
    assert "my_student.py" in write_blocks("README.md", tmp_path)
    _, student = build_student(tmp_path, monkeypatch)
    assert set(student.distiller.terms) == {"hmat"}


def build_embedder(folder, monkeypatch, name):
    """Build the distilled embedder of a page, without downloads."""
    monkeypatch.chdir(folder)
    config = load_run_config(name)
    config.model.teacher.checkpoint = None
    config.model.student.trunk.weights = None
    teacher = config.model.teacher.config
    (folder / teacher).write_text(
        (folder / teacher).read_text() + "model = dict(dim=256, trunk=dict(weights=None))\n"
    )
    options = {key: value for key, value in config.model.items() if key != "type"}
    return kd_retrieval.DistilledEmbedder(**options)


def test_the_page_on_my_embedder(tmp_path, monkeypatch):
    names = write_blocks("docs/your_embedder.md", tmp_path)
    assert names == ["my_student_alone.py", "my_student.py"]
    (tmp_path / "my_teacher.py").write_text('_base_ = "my_student_alone.py"\n')
    student = build_embedder(tmp_path, monkeypatch, "my_student.py")
    assert set(student.distiller.terms) == {"distance", "angle", "hmat"}


def test_the_readme_on_embeddings(tmp_path, monkeypatch):
    write_blocks("docs/your_embedder.md", tmp_path)
    alone = tmp_path / "my_student_alone.py"
    for name in ("my_small_embedder.py", "my_large_embedder.py"):
        (tmp_path / name).write_text(f'_base_ = "{alone.name}"\n')
    assert "my_embedder.py" in write_blocks("README.md", tmp_path)
    student = build_embedder(tmp_path, monkeypatch, "my_embedder.py")
    assert set(student.distiller.terms) == {"relaxed"}


def test_the_page_on_my_classifier(tmp_path, monkeypatch):
    names = write_blocks("docs/your_classifier.md", tmp_path)
    assert names == ["my_classifier_alone.py", "my_classifier.py"]
    (tmp_path / "my_teacher.py").write_text('_base_ = "my_classifier_alone.py"\n')
    monkeypatch.chdir(tmp_path)
    config = load_run_config("my_classifier.py")
    for network in (config.model.student.network, load_run_config("my_teacher.py").model.network):
        assert network.pop("weights") == "DEFAULT" and network.pop("new_head")
    (tmp_path / "my_teacher.py").write_text(
        '_base_ = "my_classifier_alone.py"\n'
        "model = dict(network=dict(weights=None, new_head=False))\n"
    )
    config.model.teacher.checkpoint = None
    options = {key: value for key, value in config.model.items() if key != "type"}
    student = kd_cls.DistilledClassifier(**options)
    assert set(student.distiller.terms) == {"kd"} and student.num_classes == 20


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"])
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
