import errno
import os
import resource
import runpy
from collections import OrderedDict
from pathlib import Path

import mmengine.fileio
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint, save_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from kd_core.checkpoint.load import CheckpointError, read_checkpoint
from kd_engine.resume.last_checkpoint import last_whole_checkpoint
from kd_engine.weights.checkpoint import (
    ALLOWED,
    AtomicLocalBackend,
    use_safe_checkpoints,
)

TOY = runpy.run_path(str(Path(__file__).parents[1] / "toy_run.py"))


class Run:
    """Pickles into a call that would leave a trace."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture(autouse=True)
def safe():
    use_safe_checkpoints()


def save(path, iteration):
    torch.save({"meta": {"iter": iteration}, "state_dict": {"w": torch.ones(64)}}, path)
    return path


class TestReading:
    def test_what_runner_saves_is_read(self, tmp_path):
        history = HistoryBuffer([1.0, 3.0], [1, 1])
        array = np.arange(6, dtype=">f4").reshape(2, 3)
        extra = {
            "history": history,
            "array": array,
            "columns": np.asfortranarray(array),
            "none": np.zeros((0, 3)),
            "number": np.float64(2.5),
            "flag": np.bool_(True),
            "names": np.array(["a", "bc"]),
        }
        torch.save(extra, tmp_path / "a.pth")
        found = CheckpointLoader.load_checkpoint(str(tmp_path / "a.pth"))
        assert found["history"].mean() == 2 and found["history"].current() == 3
        for key in ("array", "columns", "none", "names"):
            np.testing.assert_array_equal(found[key], extra[key])
        assert found["number"] == 2.5 and found["flag"] and found["array"].dtype == np.float32

    def test_arrays_are_saved_again_as_plain_ones(self, tmp_path):
        torch.save({"a": np.ones(3)}, tmp_path / "a.pth")
        torch.save(read_checkpoint(tmp_path / "a.pth", ALLOWED), tmp_path / "b.pth")
        unsafe = torch.load(tmp_path / "b.pth", weights_only=False)
        assert type(unsafe["a"]) is np.ndarray and unsafe["a"].tolist() == [1, 1, 1]

    @pytest.mark.parametrize(
        "value",
        [
            Run(os.mkdir, "trace"),
            Run(getattr, HistoryBuffer, "update"),
            # numpy itself makes pointers of these.
            Run(np.ndarray, (1,), "O", bytes(8)),
            np.array([object()]),
            np.zeros(2, [("a", "O")]),
            np.dtype("O"),
        ],
    )
    def test_danger_is_refused(self, tmp_path, monkeypatch, value):
        monkeypatch.chdir(tmp_path)
        torch.save({"a": value}, "a.pth")
        with pytest.raises(CheckpointError, match=r"a\.pth holds what a checkpoint may not"):
            CheckpointLoader.load_checkpoint("a.pth")
        assert not Path("trace").exists()

    @pytest.mark.parametrize(
        "name", ["torchvision://resnet18", "mmcls://mobilenet_v2", "https://x/resnet18.pth"]
    )
    def test_named_collections_read_safely(self, tmp_path, monkeypatch, name):
        path = tmp_path / "a.pth"
        torch.save({"state_dict": {"backbone.w": Run(os.mkdir, str(tmp_path / "trace"))}}, path)
        monkeypatch.setattr("kd_core.checkpoint.reader._download", lambda url: path)
        with pytest.raises(CheckpointError, match="mkdir"):
            CheckpointLoader.load_checkpoint(name)
        torch.save({"state_dict": {"backbone.w": torch.ones(1)}}, path)
        assert "state_dict" in CheckpointLoader.load_checkpoint(name)

    def test_pavi_is_refused(self):
        with pytest.raises(CheckpointError, match="cannot be read safely"):
            CheckpointLoader.load_checkpoint("pavi://a.pth")

    def test_weights_reach_the_model_through_mmengine(self, tmp_path):
        model = torch.nn.Linear(2, 2)
        torch.save(
            {"state_dict": OrderedDict(weight=torch.ones(2, 2), bias=torch.ones(2))},
            tmp_path / "a.pth",
        )
        load_checkpoint(model, str(tmp_path / "a.pth"), map_location="cpu", strict=True)
        assert model.weight.tolist() == [[1, 1], [1, 1]]

    def test_twice_is_once(self):
        schemes = dict(CheckpointLoader._schemes)
        use_safe_checkpoints()
        assert dict(CheckpointLoader._schemes) == schemes
        assert mmengine_checkpoint.load_from_http.__module__ == "kd_engine.weights.checkpoint"


class TestWriting:
    def test_mmengine_writes_through_it(self, tmp_path):
        assert type(mmengine.fileio.get_file_backend(tmp_path)) is AtomicLocalBackend
        save_checkpoint({"a": 1}, str(tmp_path / "deep" / "a.pth"))
        assert read_checkpoint(tmp_path / "deep" / "a.pth") == {"a": 1}
        assert os.listdir(tmp_path / "deep") == ["a.pth"]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_failure_leaves_the_old_file(self, tmp_path, monkeypatch, step):
        path = save(tmp_path / "iter_1.pth", 1)

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, step, fail)
        with pytest.raises(OSError, match=r"iter_1\.pth could not be .* intact.*max_keep_ckpts"):
            save_checkpoint({"meta": {"iter": 2}}, str(path))
        assert read_checkpoint(path)["meta"]["iter"] == 1
        assert os.listdir(tmp_path) == ["iter_1.pth"]

    def test_a_write_that_stops_half_way_leaves_the_old_file(self, tmp_path):
        path = save(tmp_path / "iter_1.pth", 1)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(OSError, match=r"iter_1\.pth could not be written"):
                save_checkpoint({"a": torch.zeros(100_000)}, str(path))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert read_checkpoint(path)["meta"]["iter"] == 1
        assert os.listdir(tmp_path) == ["iter_1.pth"]

    def test_an_interrupt_removes_the_temporary_file(self, tmp_path, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint({"a": 1}, str(tmp_path / "a.pth"))
        assert not os.listdir(tmp_path)

    def test_the_data_is_on_disk_before_the_name(self, tmp_path, monkeypatch):
        steps = []
        for name in ("fsync", "replace"):
            real = getattr(os, name)
            monkeypatch.setattr(
                os, name, lambda *args, name=name, real=real: (steps.append(name), real(*args))
            )
        save_checkpoint({"a": 1}, str(tmp_path / "a.pth"))
        assert steps == ["fsync", "replace", "fsync"]  # the file, its name, the folder

    def test_text_and_links(self, tmp_path):
        (tmp_path / "target").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        AtomicLocalBackend().put_text("größer", tmp_path / "link")
        assert (tmp_path / "target").read_text(encoding="utf-8") == "größer"
        assert (tmp_path / "link").is_symlink()


def test_resume_equals_an_uninterrupted_run(tmp_path):
    TOY["build"](tmp_path / "whole", 6).train()
    TOY["build"](tmp_path / "parts", 3).train()
    first = last_whole_checkpoint(tmp_path / "parts")
    assert first.endswith("iter_3.pth")
    TOY["build"](tmp_path / "parts", 6, first).train()
    whole = read_checkpoint(tmp_path / "whole" / "iter_6.pth", ALLOWED)
    parts = read_checkpoint(tmp_path / "parts" / "iter_6.pth", ALLOWED)
    for key in ("state_dict", "ema_state_dict"):
        torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=0)
    momenta = [one["optimizer"]["state"][0]["momentum_buffer"] for one in (parts, whole)]
    assert torch.equal(*momenta)
    assert parts["param_schedulers"] == whole["param_schedulers"]
    histories = [one["message_hub"]["log_scalars"]["train/loss"].data for one in (parts, whole)]
    np.testing.assert_array_equal(histories[0][0], histories[1][0])
    assert len(histories[0][0]) == 6


def test_text_in_a_checkpoint_does_not_run_on_resume(tmp_path, capsys):
    TOY["build"](tmp_path / "run", 1).train()
    path = last_whole_checkpoint(tmp_path / "run")
    content = read_checkpoint(path, ALLOWED, mmap=False)
    for key in ("config", "cfg"):  # mmengine runs the first
        content["meta"][key] = f"import os\nos.mkdir({str(tmp_path / key)!r})\n"
    torch.save(content, path)
    runner = TOY["build"](tmp_path / "run", 2, path)
    runner.train()
    assert runner.iter == 2
    assert not (tmp_path / "config").exists() and not (tmp_path / "cfg").exists()
    assert "meta['config']" in capsys.readouterr().out
