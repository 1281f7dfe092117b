import errno
import logging
import os
import resource
import runpy
import zipfile
from collections import OrderedDict
from pathlib import Path

import mmengine.fileio
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.runner import CheckpointLoader, load_checkpoint, save_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from kd_core.checkpoint import CheckpointError, read_checkpoint
from kd_engine.checkpoint import (
    ALLOWED,
    AtomicLocalBackend,
    last_whole_checkpoint,
    use_safe_checkpoints,
)

TOY = runpy.run_path(str(Path(__file__).with_name("toy_run.py")))


class Run:
    """Pickles into a call that would leave a trace."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture(autouse=True)
def safe():
    use_safe_checkpoints()


@pytest.fixture
def warnings():
    """Texts of the warnings that mmengine's logger is given."""
    texts = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)


def save(path, iteration, **more):
    meta = {"iter": iteration, "epoch": 0}
    weights = {"w": torch.full((64,), float(iteration))}
    torch.save({"meta": meta, "state_dict": weights, "message_hub": {}, **more}, path)
    return path


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


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
        monkeypatch.setattr("kd_core.checkpoint_file._download", lambda url: path)
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
        assert mmengine_checkpoint.load_from_http.__module__ == "kd_engine.checkpoint"


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


class TestLastWhole:
    def test_newest_by_number(self, tmp_path):
        for number in (2, 10, 9):
            save(tmp_path / f"iter_{number}.pth", number)
        (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_2.pth"))
        assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_10.pth")

    def test_iterations_decide_between_iter_and_epoch(self, tmp_path):
        save(tmp_path / "iter_90.pth", 90)
        save(tmp_path / "epoch_2.pth", 200)
        save(tmp_path / "best_acc_iter_500.pth", 500)
        assert last_whole_checkpoint(tmp_path) == str(tmp_path / "epoch_2.pth")

    @pytest.mark.parametrize("share", [0, 0.1, 0.6, 0.999])
    def test_a_cut_file_is_skipped_by_name(self, tmp_path, warnings, share):
        save(tmp_path / "iter_1.pth", 1)
        cut(save(tmp_path / "iter_2.pth", 2), share)
        assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
        assert len(warnings) == 1 and "iter_2.pth is skipped" in warnings[0]

    def test_a_flipped_byte_in_a_tensor_is_noticed(self, tmp_path, warnings):
        save(tmp_path / "iter_1.pth", 1)
        path = save(tmp_path / "iter_2.pth", 2)
        with zipfile.ZipFile(path) as archive:
            tensor = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
        data = bytearray(path.read_bytes())
        data[data.index(np.float32(2).tobytes() * 4, tensor.header_offset)] ^= 1
        path.write_bytes(data)
        assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
        assert "checksum" in warnings[0]

    def test_bare_weights_are_skipped(self, tmp_path, warnings):
        save(tmp_path / "iter_1.pth", 1)
        torch.save({"w": torch.zeros(1)}, tmp_path / "iter_2.pth")
        assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
        assert "lacks ['meta', 'state_dict', 'message_hub']" in warnings[0]

    def test_none_whole_is_said(self, tmp_path, warnings):
        assert last_whole_checkpoint(tmp_path / "none") is None
        assert last_whole_checkpoint(tmp_path) is None and not warnings
        cut(save(tmp_path / "iter_1.pth", 1))
        assert last_whole_checkpoint(tmp_path) is None
        assert "No checkpoint in" in warnings[-1]

    def test_a_whole_file_with_code_stops_it(self, tmp_path):
        save(tmp_path / "iter_1.pth", 1)
        save(tmp_path / "iter_2.pth", 2, more=Run(os.mkdir, str(tmp_path / "trace")))
        with pytest.raises(CheckpointError, match=r"iter_2\.pth .*mkdir"):
            last_whole_checkpoint(tmp_path)
        assert not (tmp_path / "trace").exists()

    def test_abandoned_temporary_files_are_removed(self, tmp_path):
        save(tmp_path / "iter_1.pth", 1)
        for name in (".iter_2.pth.123.tmp", ".other.tmp", "mine.tmp"):
            (tmp_path / name).write_bytes(b"half")
        last_whole_checkpoint(tmp_path)
        assert sorted(os.listdir(tmp_path)) == [".other.tmp", "iter_1.pth", "mine.tmp"]

    def test_a_file_being_written_is_left_alone(self, tmp_path, monkeypatch):
        real = os.fsync

        def look(descriptor):
            last_whole_checkpoint(tmp_path)
            real(descriptor)

        monkeypatch.setattr(os, "fsync", look)
        save_checkpoint({"a": 1}, str(tmp_path / "iter_3.pth"))
        assert read_checkpoint(tmp_path / "iter_3.pth") == {"a": 1}


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
