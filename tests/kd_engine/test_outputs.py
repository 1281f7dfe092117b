"""kd_engine.outputs: files that a command may replace."""

import os

import pytest
from mmengine.config import Config

from kd_engine.export_files import (
    check_export_files,
    exported_config,
    is_exported_config,
    wants_config,
)
from kd_engine.outputs import check_outputs, files_of


@pytest.fixture
def there(tmp_path):
    path = tmp_path / "there.json"
    path.write_text("mine", encoding="utf-8")
    return path


def test_a_new_file_may_be_written(tmp_path, there):
    read = [there, None, "https://example.org/new.json"]
    check_outputs([tmp_path / "new.json", None], read)
    assert not (tmp_path / "new.json").exists() and there.read_text(encoding="utf-8") == "mine"
    with pytest.raises(ValueError, match="new.json"):
        check_outputs([tmp_path / "new.json"], [*read, tmp_path / "new.json"])


def test_what_is_there_is_replaced_only_if_that_is_wanted(there):
    with pytest.raises(FileExistsError, match=r"there\.json is there already.*--overwrite"):
        check_outputs([there])
    check_outputs([there], overwrite=True)


def test_a_link_that_leads_nowhere_is_there(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="link"):
        check_outputs([tmp_path / "link"])


@pytest.mark.parametrize("kind", ["same", "other spelling", "link", "hard link"])
def test_an_input_is_never_replaced(tmp_path, there, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "output.json"
    if kind == "link":
        output.symlink_to(there)
    elif kind == "hard link":
        os.link(there, output)
    else:
        output = there if kind == "same" else "./there.json"
    with pytest.raises(ValueError, match="must not replace what it reads"):
        check_outputs([output], [there], overwrite=True)


def test_one_file_is_not_two_outputs(tmp_path):
    with pytest.raises(ValueError, match="written twice"):
        check_outputs([tmp_path / "a", tmp_path / "." / "a"], overwrite=True)


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_outputs([tmp_path], overwrite=True)


def test_files_of_a_config_are_its_bases_and_what_it_names(tmp_path):
    for name in ("weights.pth", "base.py", "not_named.pth"):
        (tmp_path / name).write_text("a = 1\n", encoding="utf-8")
    config = tmp_path / "config.py"
    config.write_text(
        f"_base_ = 'base.py'\nmodel = dict(many=[dict(checkpoint={str(tmp_path / 'weights.pth')!r}"
        f", text={'x' * 5000!r})])\n",
        encoding="utf-8",
    )
    found = {os.path.basename(path) for path in files_of(Config.fromfile(config))}
    assert found == {"weights.pth", "base.py", "config.py"}


def test_an_export_replaces_an_export_and_no_other_config(tmp_path):
    weights, plain = tmp_path / "student.pth", tmp_path / "student.py"
    check_export_files(str(weights), ())
    plain.write_text("model = dict()\n", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"student\.py is a config that no export has made"):
            check_export_files(str(weights), (), overwrite)
    plain.write_text(exported_config("model = dict()\n", "it needs\nnothing"), encoding="utf-8")
    assert is_exported_config(plain)
    assert Config.fromfile(plain).model == {}
    check_export_files(str(weights), ())
    with pytest.raises(ValueError, match="must not replace what it reads"):
        check_export_files(str(weights), (str(plain),), overwrite=True)


def test_one_config_serves_weights_of_two_kinds(tmp_path):
    plain, one, other = tmp_path / "student.py", "a = 1\n", "a = 2\n"
    assert wants_config(plain, exported_config(one, "usage"))
    plain.write_text(exported_config(one, "usage"), encoding="utf-8")
    assert not wants_config(plain, exported_config(one, "another usage"))
    with pytest.raises(FileExistsError, match=r"student\.py is there already"):
        wants_config(plain, exported_config(other, "usage"))
    assert wants_config(plain, exported_config(other, "usage"), overwrite=True)
