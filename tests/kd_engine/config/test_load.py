import fractions
from pathlib import Path

import pytest
import torch

from kd_engine.config.load import load_run_config, parse_options

TASK = "default_scope = 'mmengine'\ncustom_imports = dict(imports=['kd_retrieval'])\n"


@pytest.fixture
def config(tmp_path):
    """A config file below a folder `configs`."""
    path = tmp_path / "configs" / "small" / "run.py"
    path.parent.mkdir(parents=True)
    path.write_text(TASK + "model = dict(width=4)\nsteps = 1\n")
    return str(path)


class TestParseOptions:
    def test_values_are_read_as_mmengine_reads_them(self):
        pairs = ["model.width=8", "names=[1,2]", "a=b=c", "model.width=9", "on=True", "x=None"]
        assert parse_options(pairs) == {
            "model.width": 9, "names": [1, 2], "a": "b=c", "on": True, "x": None
        }  # fmt: skip
        assert parse_options([]) == {}


class TestLoadRunConfig:
    def test_options_change_the_config(self, config):
        found = load_run_config(config, {"model.width": 8})
        assert found.model.width == 8
        assert found.steps == 1

    @pytest.mark.filterwarnings("ignore:--cfg-options")
    @pytest.mark.parametrize("option", ["model.width.more", "names.5.x", "names.x"])
    def test_an_option_that_does_not_fit(self, config, option):
        Path(config).write_text(TASK + "model = dict(width=4)\nnames = [dict(a=1)]\n")
        with pytest.raises(ValueError, match=rf"--cfg-options {option}=1 does not fit"):
            load_run_config(config, {option: 1})

    def test_a_misspelled_key(self, config):
        with pytest.raises(ValueError, match="begins with 'optim_wraper'.*: optim_wrapper"):
            load_run_config(config, {"model.width": 8, "optim_wraper.type": "X"})
        Path(config).write_text(TASK + "modle = dict(width=4)\n")
        with pytest.raises(ValueError, match=r"modle is set \(is it model\?\)"):
            load_run_config(config)

    def test_the_work_dir_follows_the_config(self, config, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert Path(load_run_config(config).work_dir) == Path("work_dirs", "small", "run")

    def test_two_projects_have_two_work_dirs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for project in ("projA", "projB"):
            (tmp_path / project).mkdir()
            (tmp_path / project / "student.py").write_text(TASK)
            found = load_run_config(f"{project}/student.py").work_dir
            assert Path(found) == Path("work_dirs", project, "student")

    def test_the_work_dir_asked_for_comes_first(self, config):
        Path(config).write_text(TASK + "work_dir = 'own'\n")
        assert load_run_config(config).work_dir == "own"
        assert load_run_config(config, {"work_dir": "option"}).work_dir == "option"
        assert load_run_config(config, {"work_dir": "option"}, "asked").work_dir == "asked"

    def test_a_missing_config_is_named(self):
        with pytest.raises(FileNotFoundError, match=r"no config file none\.py"):
            load_run_config("none.py")

    def test_checkpoints_are_safe_afterwards(self, config, tmp_path):
        from mmengine.runner import load_checkpoint

        load_run_config(config)
        torch.save({"state_dict": {"weight": fractions.Fraction(1)}}, tmp_path / "a.pth")
        with pytest.raises(ValueError, match="Fraction"):
            load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / "a.pth"))
