import socket

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed

from kd_engine.run.distributed import set_up_launcher, share_statistics, use_mixed_precision


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
        set_up_launcher(config, "pytorch")
        assert config.launcher == "pytorch"
        assert distributed.get_backend() == "gloo"
        given = dict(module=torch.nn.Linear(2, 1), device_ids=[0])  # as mmengine's Runner does
        wrapper = MODEL_WRAPPERS.build(config.model_wrapper_cfg, default_args=given)
        assert wrapper.find_unused_parameters
        assert wrapper(torch.ones(1, 2)).shape == (1, 1)

    def test_a_wrapper_of_the_config_stays(self, one_process, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        config = Config({"model_wrapper_cfg": {"type": "Mine"}})
        set_up_launcher(config, "pytorch")
        assert config.model_wrapper_cfg == {"type": "Mine"}

    @pytest.mark.parametrize(("launcher", "gpu"), [("none", False), ("pytorch", True)])
    def test_everything_else_is_left_to_mmengine(self, launcher, gpu, one_process, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        config = Config({})
        set_up_launcher(config, launcher)
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
