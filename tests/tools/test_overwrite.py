"""No tool replaces a file that it did not make for this very purpose."""

import os
import runpy
from pathlib import Path

import pytest

TOY = runpy.run_path(str(Path(__file__).parents[1] / "kd_retrieval/toy_retrieval.py"))
MINE = "# mine\n"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return TOY["make"](tmp_path_factory.mktemp("toy"))


@pytest.fixture
def nothing_slow(monkeypatch):
    """Fail if a tool does more than to look at its files before it refuses."""

    def fail(*arguments, **options):
        raise AssertionError("something slow was begun")

    for name in ("kd_engine.build.read_config", "kd_engine.config.load.read_config",
                 "kd_retrieval.embeddings.stored.read_embeddings",
                 "benchmarks.recall.cost.measure_recall"):  # fmt: skip
        monkeypatch.setattr(name, fail)


def test_an_export_beside_its_own_config(place, run_tool, tmp_path, monkeypatch):
    """`export student.py CKPT student.pth` would replace the user's student.py."""
    config = place.variant("own.py", "randomness = dict(seed=1)")
    before = config.read_text()
    monkeypatch.chdir(config.parent)
    for flags in ((), ("--overwrite",)):
        code, _, error = run_tool("export", "own.py", place.weights, "own.pth", *flags)
        assert code == 1 and "own.py is a config that no export has made" in error
    assert config.read_text() == before and not (config.parent / "own.pth").exists()


def test_an_export_over_what_it_reads(place, run_tool, tmp_path):
    """The checkpoint, the teacher's checkpoint and a base are inputs, also with --overwrite."""
    teacher = place.teacher_weights.read_bytes()
    for flags in ((), ("--overwrite",)):
        for out in (place.weights, place.teacher_weights):
            code, _, error = run_tool("export", place.distilled, place.weights, out, *flags)
            wanted = "must not replace what it reads" if flags else "is there already"
            assert code == 1 and (wanted in error or "must not" in error)
        out = place.base.with_suffix(".pth")
        code, _, error = run_tool("export", place.distilled, place.weights, out, *flags)
        assert code == 1 and "base.py is a config that no export has made" in error
    assert place.teacher_weights.read_bytes() == teacher and place.weights.is_file()


def test_an_earlier_export_is_replaced_only_if_wanted(toy, run_tool, tmp_path):
    out = tmp_path / "student.pth"
    command = ("export", toy.config, toy.student, out)
    assert run_tool(*command)[0] == 0
    before = out.stat().st_mtime_ns, out.with_suffix(".py").read_text()
    code, _, error = run_tool(*command)
    assert code == 1 and "student.pth is there already" in error and "--overwrite" in error
    assert (out.stat().st_mtime_ns, out.with_suffix(".py").read_text()) == before
    assert run_tool(*command, "--overwrite")[0] == 0
    assert out.stat().st_mtime_ns != before[0]
    changed = ("--cfg-options", "randomness.seed=9")
    code, _, error = run_tool(*command[:3], tmp_path / "student.safetensors", *changed)
    assert code == 1 and "student.py is there already" in error
    assert out.with_suffix(".py").read_text() == before[1]


@pytest.mark.parametrize(
    ("tool", "name", "arguments"),
    [
        ("export", "student.pth", ("{config}", "{student}", "{out}")),
        ("export-onnx", "student.onnx", ("{config}", "{student}", "{out}")),
        ("search", "page.html", ("gallery.npz", "--out", "{out}")),
        ("test", "metrics.json", ("{config}", "{student}", "--out", "{out}")),
        ("benchmark", "cost.json", ("recall", "--out", "{out}")),
        ("benchmark", "cost.json", ("distill", "{config}", "--out", "{out}")),
    ],
)
def test_a_file_that_is_there_stays(
    toy, run_tool, tmp_path, nothing_slow, tool, name, arguments
):  # fmt: skip
    out = tmp_path / name
    out.write_text(MINE)
    named = dict(config=toy.config, student=toy.student, out=out)
    code, _, error = run_tool(tool, *(one.format(**named) for one in arguments))
    assert code == 1 and f"{name} is there already" in error, error
    assert out.read_text() == MINE


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("export", ("{config}", "{student}", "{student}")),
        ("search", ("{student}", "--out", "{student}")),
        ("search", ("g.npz", "--queries", "{student}", "--out", "{student}")),
        ("search", ("g.npz", "--out", "{student}", "--index-file", "{student}")),
        ("search", ("{student}", "--out", "page.html", "--index-file", "{student}")),
        ("test", ("{config}", "{student}", "--out", "{student}")),
        ("test", ("{config}", "{student}", "--out", "{config}")),
        ("benchmark", ("distill", "{config}", "--out", "{config}")),
    ],
)
def test_an_input_stays_even_if_overwriting_is_wanted(
    toy, run_tool, nothing_slow, tool, arguments
):  # fmt: skip
    before = toy.student.read_bytes(), toy.config.read_bytes()
    named = dict(config=toy.config, student=toy.student)
    arguments = [one.format(**named) for one in arguments]
    code, _, error = run_tool(tool, *arguments, "--overwrite")
    assert code == 1 and "must not replace what it reads" in error, error
    assert (toy.student.read_bytes(), toy.config.read_bytes()) == before


def test_a_page_is_replaced_if_that_is_wanted(toy, run_tool, tmp_path):
    gallery, page = tmp_path / "gallery.npz", tmp_path / "page.html"
    page.write_text(MINE)
    assert run_tool("embed", toy.config, toy.student, gallery)[0] == 0
    code, _, error = run_tool("search", gallery, "--out", page, "--overwrite")
    assert code == 0 and page.read_text() != MINE, error


def test_a_folder_of_embeddings_with_other_files_stays(toy, run_tool, tmp_path):
    out = tmp_path / "gallery"
    assert run_tool("embed", toy.config, toy.student, out)[0] == 0
    (out / "notes.txt").write_text(MINE)
    half = (toy.config, toy.student, out, "--half", "--overwrite")
    code, _, error = run_tool("embed", *half)
    assert code == 1 and "holds notes.txt as well" in error
    assert (out / "notes.txt").read_text() == MINE
    (out / "notes.txt").unlink()
    assert run_tool("embed", *half)[0] == 0


def test_a_demo_does_not_replace_files_of_its_names(run_tool, tmp_path):
    (tmp_path / "results.md").write_text(MINE)
    code, _, error = run_tool("demo", "--work-dir", tmp_path)
    assert code == 1 and "results.md, which no demo has made" in error
    assert [path.name for path in tmp_path.iterdir()] == ["results.md"]


@pytest.fixture
def shared_machine():
    """Make files as on a machine whose users share a group: 0640, folders 0750."""
    before = os.umask(0o027)
    yield 0o640, 0o750
    os.umask(before)


def test_others_may_read_what_the_tools_write(toy, run_tool, tmp_path, shared_machine):
    gallery = tmp_path / "gallery.npz"
    for command in (
        ("export", toy.config, toy.student, tmp_path / "student.pth"),
        ("export", toy.config, toy.student, tmp_path / "student.safetensors"),
        ("export-onnx", toy.config, toy.student, tmp_path / "student.onnx", "--limit", 4),
        ("embed", toy.config, toy.student, gallery),
        ("embed", toy.config, toy.student, tmp_path / "folder"),
        ("search", gallery, "--out", tmp_path / "page.html", "--index-file", tmp_path / "index"),
        ("make-digits", "--out", tmp_path / "digits", "--train", 1, "--val", 1, "--size", 80,
         "--max-side", 30),
    ):  # fmt: skip
        code, _, error = run_tool(*command)
        assert code == 0, error
    paths = [path for path in tmp_path.rglob("*") if path.name != "cache"]
    assert len([path for path in paths if path.is_file()]) == 18
    for path in paths:
        assert path.stat().st_mode & 0o777 == shared_machine[path.is_dir()], path
