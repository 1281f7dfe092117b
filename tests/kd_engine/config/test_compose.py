"""A method and a dataset make a config without a file of their own."""

from pathlib import Path

import pytest

from kd_engine.config.compose import find_composed, full_name, is_file_here
from kd_engine.config.file import ConfigError, read_config
from kd_engine.work_dir.default import default_work_dir

METHOD = '''# the first line
"""A method."""

_base_ = "data/digits.py"

model = dict(type="Distilled", student=_base_.model, teacher={{_base_.teacher}})
'''


@pytest.fixture(autouse=True)
def cls(tmp_path, monkeypatch):
    """A folder with a method and two datasets, below the current folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cls"
    (folder / "data").mkdir(parents=True)
    for name, classes in dict(digits=10, fashion=11).items():
        text = f"model = dict(type='Net', classes={classes})\nteacher = '{name}'\n"
        (folder / "data" / f"{name}.py").write_text(text)
    (folder / "kd.py").write_text(METHOD)
    return folder


def test_the_dataset_takes_the_place_of_the_methods_own():
    alone, other = read_config("cls/kd.py"), read_config("cls/kd+fashion")
    assert alone.model.student.classes == 10 and alone.model.teacher == "digits"
    assert other.model.student.classes == 11 and other.model.teacher == "fashion"
    assert read_config("cls/kd+digits").to_dict() == alone.to_dict()
    assert other.filename == "cls/kd+fashion.py"


@pytest.mark.parametrize(
    "name", ["cls/kd+fashion", "cls/kd.py+fashion", "cls/kd+cls/data/fashion.py"]
)
def test_each_part_may_be_a_path(name, tmp_path):
    assert read_config(name).model.student.classes == 11
    assert read_config(str(tmp_path / "cls") + name[3:]).model.student.classes == 11
    assert is_file_here(name) and full_name(name) == "cls/kd+fashion"


def test_a_dataset_anywhere(tmp_path):
    (tmp_path / "a+b").mkdir()
    text = "_base_ = '../cls/data/digits.py'\nteacher = 'mine'\n"
    (tmp_path / "a+b" / "mine.py").write_text(text)
    config = read_config("cls/kd+a+b/mine.py")
    assert config.model.teacher == "mine" and config.model.student.classes == 10
    assert default_work_dir("cls/kd+a+b/mine.py") == Path("work_dirs/cls/kd+mine")


def test_a_method_anywhere(tmp_path):
    (tmp_path / "own.py").write_text(METHOD.replace("data/digits", "cls/data/digits"))
    assert read_config("own+fashion").model.student.classes == 11


def test_a_file_with_a_plus_is_a_file(cls):
    (cls / "kd+fashion.py").write_text("model = dict(type='Other')\n")
    assert find_composed("cls/kd+fashion.py") is None
    assert read_config("cls/kd+fashion.py").model.type == "Other"


@pytest.mark.parametrize("name", ["cls/kd.py", "cls/kd+digits", "cls/kd.py+digits", "./cls/kd.py"])
def test_a_method_alone_has_the_work_dir_of_its_own_dataset(name):
    assert default_work_dir(name) == Path("work_dirs/cls/kd+digits")


def test_other_names_stay_what_they_are(cls):
    (cls / "plain.py").write_text("model = dict()\n")
    (cls / "plain.yaml").write_text("model: {}\n")
    for name in ("cls/plain.py", "cls/plain.yaml", "cls/none.py", "mmdet::a/b+c.py", "no+one"):
        assert full_name(name) == name
    assert not is_file_here("no+one") and not is_file_here(dict(type="Net"))


def test_an_unknown_dataset_is_named_with_its_neighbors():
    message = r"no dataset 'fashio' for cls/kd\.py\. Nearest: fashion\. .* are digits, fashion;"
    with pytest.raises(FileNotFoundError, match=message):
        read_config("cls/kd+fashio")
    with pytest.raises(FileNotFoundError, match=r"no dataset 'my/own\.py'"):
        read_config("cls/kd+my/own.py")


def test_an_unknown_method_is_named_with_its_neighbors():
    with pytest.raises(FileNotFoundError, match=r"no config file cls/kdd\+digits.*cls/kd\.py"):
        read_config("cls/kdd+digits")


def test_a_config_without_a_dataset_is_refused(cls):
    (cls / "plain.py").write_text("_base_ = 'kd.py'\n")
    with pytest.raises(ValueError, match=r"cls/plain\.py inherits none"):
        read_config("cls/plain+fashion")


def test_an_error_names_the_method_and_the_line_and_what_the_dataset_lacks(cls):
    (cls / "kd.py").write_text(METHOD + "rate = 1 / 0\n")
    with pytest.raises(ConfigError, match=r"config cls/kd\.py, line 7: ZeroDivisionError"):
        read_config("cls/kd+fashion")
    (cls / "kd.py").write_text(METHOD + "rate = _base_.rate\n")
    with pytest.raises(ConfigError, match=r"line 7: 'rate' is not there.*inherited config"):
        read_config("cls/kd+fashion")
    (cls / "data" / "fashion.py").write_text("model = dict(\n")
    with pytest.raises(ConfigError, match=r"config cls/data/fashion\.py, line 1: the syntax"):
        read_config("cls/kd+fashion")


@pytest.mark.parametrize(
    "base", ["cls/kd+fashion", "cls/kd.py+fashion", "cls/kd+cls/data/fashion.py"]
)
def test_it_is_a_base_of_a_config(base):
    Path("mine").mkdir()
    text = f"_base_ = {base.replace('cls/', '../cls/')!r}\nn = _base_.model.student.classes\n"
    Path("mine/own.py").write_text(text)
    config = read_config("mine/own.py")
    assert config.n == 11 and config.model.teacher == "fashion"
    assert config.model.student.to_dict() == dict(type="Net", classes=11)


def test_a_built_in_one_is_a_base(tmp_path):
    Path("own.py").write_text('_base_ = "kdkit::cls/kd+fashion_mnist"\n')
    assert read_config("own.py").to_dict() == read_config("kdkit::cls/kd+fashion_mnist").to_dict()
    Path("own.py").write_text('_base_ = "kdkit::cls/kd+fashion_mnis"\n')
    with pytest.raises(ConfigError, match="Nearest: fashion_mnist"):
        read_config("own.py")
