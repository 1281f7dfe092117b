import argparse
import fractions
import socket
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed

from kd_engine.runs import (
    add_config_arguments,
    dataset_configs,
    load_run_config,
    require_datasets,
    share_statistics,
    start_processes,
    use_mixed_precision,
)

TASK = "default_scope = 'mmengine'\ncustom_imports = dict(imports=['kd_retrieval'])\n"


@pytest.fixture
def config(tmp_path):
    """A config file below a folder `configs`."""
    path = tmp_path / "configs" / "small" / "run.py"
    path.parent.mkdir(parents=True)
    path.write_text(TASK + "model = dict(width=4)\nsteps = 1\n")
    return str(path)


def loader(**dataset):
    return {"batch_size": 1, "dataset": {"type": "Any", **dataset}}


class TestArguments:
    def test_options_are_read(self):
        parser = argparse.ArgumentParser()
        add_config_arguments(parser)
        found = parser.parse_args(["a.py", "--cfg-options", "model.width=8", "names=[1,2]"])
        assert found.config == "a.py"
        assert found.cfg_options == {"model.width": 8, "names": [1, 2]}
        assert parser.parse_args(["a.py"]).cfg_options is None

    def test_an_option_without_a_value(self, capsys):
        parser = argparse.ArgumentParser()
        add_config_arguments(parser)
        with pytest.raises(SystemExit):
            parser.parse_args(["a.py", "--cfg-options", "model.width"])
        assert "it must be KEY=VALUE, but it is 'model.width'" in capsys.readouterr().err


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


class TestRequireDatasets:
    def test_data_that_is_there_passes(self, tmp_path):
        (tmp_path / "a.json").write_text("{}")
        config = Config({"train_dataloader": loader(data_root=str(tmp_path), ann_file="a.json")})
        require_datasets(config)
        assert list(dataset_configs(config)) == ["train_dataloader"]

    def test_a_missing_folder_is_named(self, tmp_path):
        config = Config({"val_dataloader": loader(data_root=str(tmp_path / "none"))})
        with pytest.raises(FileNotFoundError, match="the data folder .*none is missing"):
            require_datasets(config)

    def test_a_missing_annotation_file_is_named(self, tmp_path):
        config = Config({"val_dataloader": loader(data_root=str(tmp_path), ann_file="b.json")})
        with pytest.raises(FileNotFoundError, match=r"the data file .*b\.json is missing"):
            require_datasets(config)

    def test_an_annotation_file_without_a_root(self, tmp_path):
        config = Config({"val_dataloader": loader(ann_file=str(tmp_path / "c.json"))})
        with pytest.raises(FileNotFoundError, match=r"c\.json is missing"):
            require_datasets(config)

    @pytest.mark.parametrize("wrapper", ["ConcatDataset", "RepeatDataset"])
    def test_data_sets_in_a_wrapper_are_looked_at(self, tmp_path, wrapper):
        inner = {"type": "Any", "data_root": str(tmp_path / "none")}
        many = {"datasets": [inner]} if wrapper == "ConcatDataset" else {"dataset": inner}
        config = Config({"train_dataloader": {"dataset": {"type": wrapper, **many}}})
        with pytest.raises(FileNotFoundError, match="none is missing"):
            require_datasets(config)

    def test_only_the_loaders_asked_for(self, tmp_path):
        config = Config({"train_dataloader": loader(data_root=str(tmp_path / "none"))})
        require_datasets(config, loaders=("val_dataloader",))


@pytest.fixture
def one_process(monkeypatch):
    """The environment that torchrun sets, for a run of one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for key, value in dict(RANK=0, WORLD_SIZE=1, MASTER_ADDR="127.0.0.1", MASTER_PORT=port).items():
        monkeypatch.setenv(key, str(value))
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


class TestStartProcesses:
    def test_without_a_gpu_they_talk_through_gloo(self, one_process, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        config = Config({"find_unused_parameters": True})
        start_processes(config, "pytorch")
        assert config.launcher == "pytorch"
        assert distributed.get_backend() == "gloo"
        given = dict(module=torch.nn.Linear(2, 1), device_ids=[0])  # as mmengine's Runner does
        wrapper = MODEL_WRAPPERS.build(config.model_wrapper_cfg, default_args=given)
        assert wrapper.find_unused_parameters
        assert wrapper(torch.ones(1, 2)).shape == (1, 1)

    def test_a_wrapper_of_the_config_stays(self, one_process, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        config = Config({"model_wrapper_cfg": {"type": "Mine"}})
        start_processes(config, "pytorch")
        assert config.model_wrapper_cfg == {"type": "Mine"}

    @pytest.mark.parametrize(("launcher", "gpu"), [("none", False), ("pytorch", True)])
    def test_everything_else_is_left_to_mmengine(self, launcher, gpu, one_process, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        config = Config({})
        start_processes(config, launcher)
        assert config.to_dict() == {"launcher": launcher}
        assert not distributed.is_initialized()


class TestShareStatistics:
    def test_of_several_processes_alone(self):
        for launcher, count in (("none", 0), ("pytorch", 1), ("slurm", 1)):
            config = Config({"launcher": launcher})
            share_statistics(config)
            assert len(config.get("custom_hooks", [])) == count

    def test_other_hooks_stay(self):
        config = Config({"launcher": "pytorch", "custom_hooks": [{"type": "EMAHook"}]})
        for _ in range(2):
            share_statistics(config)
            assert [hook.type for hook in config.custom_hooks] == ["EMAHook", "SyncBuffersHook"]


class TestUseMixedPrecision:
    def test_a_cpu_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        config = Config({"optim_wrapper": {"type": "OptimWrapper"}})
        with pytest.raises(ValueError, match="--amp needs a GPU.*Leave it out on a CPU"):
            use_mixed_precision(config)
        assert config.optim_wrapper.type == "OptimWrapper"

    @pytest.mark.parametrize(("given", "scale"), [({}, "dynamic"), ({"loss_scale": 8.0}, 8.0)])
    def test_the_wrapper_changes_on_a_gpu(self, given, scale, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        config = Config({"optim_wrapper": {"type": "OptimWrapper", "clip_grad": None, **given}})
        use_mixed_precision(config)
        assert config.optim_wrapper == {
            "type": "AmpOptimWrapper", "clip_grad": None, "loss_scale": scale
        }  # fmt: skip
