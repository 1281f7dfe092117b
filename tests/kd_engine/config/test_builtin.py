"""Built-in configs by name: on the command line, as a teacher, as a base, as a copy."""

import subprocess
import sys
from pathlib import Path

import pytest

from kd_engine.config.builtin import (
    builtin_name,
    config_path,
    configs_folder,
    copy_config,
    list_configs,
)
from kd_engine.config.file import read_config
from kd_engine.run.prerequisites import references_of
from kd_engine.work_dir.default import default_work_dir

ROOT = Path(__file__).parents[3]
NAMES = [one.name for one in list_configs()]
DEMO = "kdkit::demo/distilled.py"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The folder in which the tests run holds nothing."""
    monkeypatch.chdir(tmp_path)


def test_the_configs_of_a_checkout_are_found():
    assert configs_folder() == ROOT / "configs"
    assert (
        config_path(DEMO)
        == config_path("kdkit::demo/distilled")
        == str(ROOT / "configs" / DEMO[7:])
    )
    assert config_path("demo/distilled.py") == "demo/distilled.py"
    assert config_path("mmdet::a/b.py") == "mmdet::a/b.py"


def test_names_and_files_are_two_ways_to_say_the_same(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert builtin_name("configs/demo/student.py") == "kdkit::demo/student.py"
    assert builtin_name("README.md") is None
    assert read_config(DEMO).model == read_config("configs/demo/distilled.py").model


def test_a_name_that_is_not_there_names_the_nearest():
    with pytest.raises(
        FileNotFoundError, match=r"kdkit::demo/distiled\. Nearest: kdkit::demo/dist"
    ):
        read_config("kdkit::demo/distiled")


def test_a_file_of_ones_own_inherits_a_built_in_config(tmp_path):
    (tmp_path / "mine.py").write_text(f'_base_ = "{DEMO}"\nmodel = dict(dry_run_size=(64, 64))\n')
    config = read_config("mine.py")
    assert config.model.dry_run_size == (64, 64)
    assert config.model.terms == read_config(DEMO).model.terms
    assert "_scope_" not in config.model


def test_a_base_that_is_not_there_is_named(tmp_path):
    (tmp_path / "mine.py").write_text('_base_ = "kdkit::demo/nothing.py"\n')
    with pytest.raises(ValueError, match="no built-in config kdkit::demo/nothing.py"):
        read_config("mine.py")


def test_the_work_dir_is_that_of_the_file():
    assert default_work_dir(DEMO) == Path("work_dirs/demo/distilled")
    assert default_work_dir(config_path(DEMO)) == Path("work_dirs/demo/distilled")


def test_parts_are_not_listed_and_words_select():
    assert len(NAMES) > 50 and NAMES == sorted(NAMES)
    assert DEMO in NAMES and not any("_base_" in name or "/data/" in name for name in NAMES)
    demo = {one.name: one.summary for one in list_configs("DEMO/")}
    assert set(demo) == {name for name in NAMES if "demo/" in name}
    assert demo[DEMO].startswith("The demo's student with FPN and heads of")
    assert all(one.summary for one in list_configs())
    assert list_configs("no such word") == []


def test_a_dataset_s_name_lists_the_methods_on_it():
    found = [one.name for one in list_configs("fashion_mnist_val")]
    assert "kdkit::cls/kd+fashion_mnist_val" in found and found == sorted(found)
    assert len(found) == len([name for name in NAMES if name.startswith("kdkit::cls/")])
    assert all(read_config(name).model for name in found[:3])


def test_listing_needs_neither_mmengine_nor_torch():
    program = (
        "import sys; from kd_engine.config.builtin import list_configs; print(len(list_configs()), "
        "'mmengine' in sys.modules, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == f"{len(NAMES)} False False\n", run.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_copy_is_the_same_config(name, tmp_path):
    copy = copy_config(name, tmp_path / "mine")
    assert copy == tmp_path / "mine" / Path(config_path(name)).name
    assert read_config(str(copy)).to_dict() == read_config(name).to_dict()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_config_refers_to_is_found_from_any_folder(name):
    for _, reference in references_of(read_config(name).model):
        config = reference["config"]
        if isinstance(config, str) and not config.startswith("mmdet::"):
            assert read_config(config).model


def test_a_copy_names_itself_and_replaces_nothing(tmp_path):
    copy = copy_config("demo/student", tmp_path)
    first = copy.read_text().splitlines()[0]
    assert " student.py" in first and "demo/student" not in first
    with pytest.raises(FileExistsError, match=r"student\.py exists"):
        copy_config("demo/student", tmp_path)


def test_no_config_to_copy(tmp_path):
    with pytest.raises(FileNotFoundError, match="Nearest: kdkit::demo/student"):
        copy_config("demo/studnet", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_method_and_a_dataset_are_a_name_too(tmp_path):
    name = "kdkit::cls/kd+fashion_mnist"
    assert default_work_dir(name) == Path("work_dirs/cls/kd+fashion_mnist")
    assert default_work_dir("kdkit::cls/kd") == Path("work_dirs/cls/kd+digits")
    copy = copy_config(name, tmp_path)
    assert copy == tmp_path / "kd+fashion_mnist.py"
    assert '_base_ = "kdkit::cls/data/fashion_mnist.py"\n' in copy.read_text()
    assert read_config(str(copy)).to_dict() == read_config(name).to_dict()


def test_a_copied_method_takes_other_datasets(tmp_path):
    copy_config("cls/kd", tmp_path)
    found = read_config("kd+fashion_mnist")
    assert found.to_dict() == read_config("kdkit::cls/kd+fashion_mnist").to_dict()


def test_a_dataset_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no dataset 'fashion'.*Nearest: fashion_mnist"):
        read_config("kdkit::cls/kd+fashion")
    with pytest.raises(FileNotFoundError, match="there is no built-in config kdkit::cls/kdd"):
        read_config("kdkit::cls/kdd+digits")
