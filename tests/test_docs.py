"""The configs that the docs tell users to copy do build."""

import importlib
import re
from pathlib import Path

import pytest

import kd_cls
import kd_det
import kd_retrieval
from kd_engine.build import without_weight_files
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


def build_student(folder, monkeypatch, name="my_student.py"):
    monkeypatch.chdir(folder)
    config = load_run_config(name)
    model = without_weight_files(config.model)
    return config.model.student.type, kd_det.DistilledDetector(
        **{key: value for key, value in model.items() if key != "type"}
    )


def test_the_page_on_my_detector(tmp_path, monkeypatch):
    names = write_blocks("docs/your_detector.md", tmp_path)
    expected = ["my_student_alone.py", "my_student.py", "my_attention_student.py"]
    assert names == [*expected, "my_student_of_a_vit.py"]
    (tmp_path / "my_teacher.py").write_text('_base_ = "my_student_alone.py"\n')
    kind, student = build_student(tmp_path, monkeypatch)
    assert type(student).__name__ == kind == "FasterRCNN"
    assert set(student.distiller.terms) == {"imitation"}
    _, student = build_student(tmp_path, monkeypatch, names[2])
    assert set(student.distiller.terms) == {"hmat", "asckd"}


def test_the_page_on_a_backbone_as_teacher(tmp_path, monkeypatch):
    name = write_blocks("docs/your_detector.md", tmp_path)[-1]
    small = """
model["teacher"]["scale"] = (56, 56)
model["teacher"]["backbone"].update(
    checkpoint=None, options=dict(img_size=56, embed_dim=16, num_heads=2)
)
"""
    (tmp_path / name).write_text((tmp_path / name).read_text() + small)
    _, student = build_student(tmp_path, monkeypatch, name)
    (row,) = student.distiller.shape_table.rows
    assert row.teacher_shape == (2, 16, 4, 4) and row.connector == "1x1"


def test_the_page_on_self_distillation(tmp_path, monkeypatch):
    names = write_blocks("docs/methods/self.md", tmp_path)
    assert names == ["my_self.py", "my_self_detector.py"]
    monkeypatch.chdir(tmp_path)
    for name, package, momentum in zip(names, (kd_cls, kd_det), (0.99, 0.9), strict=True):
        model = load_run_config(name).model
        model.pop("type")
        assert package.SelfTeacher(**model).distiller.following.momentum == momentum


def test_the_readme(tmp_path, monkeypatch):
    write_blocks("docs/your_detector.md", tmp_path)
    alone = tmp_path / "my_student_alone.py"
    for name in ("my_trained_small_detector.py", "my_large_detector.py"):
        (tmp_path / name).write_text(alone.read_text())
    assert "my_student.py" in write_blocks("README.md", tmp_path)
    _, student = build_student(tmp_path, monkeypatch)
    assert set(student.distiller.terms) == {"imitation"}


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


PAGES = [
    path
    for pattern in ("*.md", "docs/**/*.md", "configs/**/*.md", ".github/*.md")
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_leads_to_every_page():
    linked = set()
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", page.read_text()):
            linked.add((page.parent / target).resolve())
    assert not {page for page in ROOT.glob("docs/**/*.md") if page.resolve() not in linked}
    first = set(re.findall(r"\]\(([^)#:]+\.md)", (ROOT / "README.md").read_text()))
    wanted = {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} | {"CONTRIBUTING.md"}
    assert not wanted - first


OURS = "kd_core|kd_engine|kd_det|kd_retrieval|kd_cls|kdkit|benchmarks"
NAME = re.compile(rf"(?<![\w./-])((?:{OURS})(?:\.[A-Za-z_]\w*)+)")
QUOTED = re.compile(rf"(?<=[`\"']){NAME.pattern}")  # in code: what a text says
FILE = re.compile(
    rf"(?<![\w./:-])((?:{OURS}|tools|configs|tests|docs|examples)/[\w/.-]*?\.(?:py|md))(?!\w)"
)
ENTRY_POINTS = {"kdkit.tasks", "kdkit.scopes"}
SOURCES = [
    *(page for page in PAGES if page.name != "CHANGELOG.md"),  # it has the old names too
    *(path for one in OURS.split("|") for path in sorted((ROOT / one).rglob("*.py"))),
]


def is_there(name):
    """Return whether a dotted name is a module of ours or an attribute of one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_every_name_of_ours_that_is_mentioned_exists():
    wrong = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        names = NAME if path.suffix == ".md" else QUOTED
        for name in sorted(set(names.findall(text)) - ENTRY_POINTS):
            if not is_there(name):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
        for name in sorted(set(FILE.findall(text))):
            if not (ROOT / name).exists() and not (path.parent / name).exists():
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong
