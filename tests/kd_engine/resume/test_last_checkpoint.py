"""The newest checkpoint that training can resume from."""

import logging
import os
import re
import zipfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import save_checkpoint

from kd_core.checkpoint.load import CheckpointError, read_checkpoint
from kd_engine.resume.last_checkpoint import last_whole_checkpoint
from kd_engine.weights.checkpoint import use_safe_checkpoints


class Run:
    """Pickles into a call that would leave a trace."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture(autouse=True)
def safe():
    use_safe_checkpoints()


def save(path, iteration, **more):
    hub = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}
    content = {
        "meta": {"iter": iteration, "epoch": 0},
        "state_dict": {"w": torch.full((64,), float(iteration))},
        "message_hub": hub,
    }
    torch.save(content | more, path)
    return path


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_newest_by_number(tmp_path):
    for number in (2, 10, 9):
        save(tmp_path / f"iter_{number}.pth", number)
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_2.pth"))
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_10.pth")


def test_iterations_decide_between_iter_and_epoch(tmp_path):
    save(tmp_path / "iter_90.pth", 90)
    save(tmp_path / "epoch_2.pth", 200)
    save(tmp_path / "best_acc_iter_500.pth", 500)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "epoch_2.pth")


@pytest.mark.parametrize("share", [0, 0.1, 0.6, 0.999])
def test_a_cut_file_is_skipped_by_name(tmp_path, warnings, share):
    save(tmp_path / "iter_1.pth", 1)
    cut(save(tmp_path / "iter_2.pth", 2), share)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    assert len(warnings) == 1 and "iter_2.pth is skipped" in warnings[0]


def test_a_flipped_byte_in_a_tensor_is_noticed(tmp_path, warnings):
    save(tmp_path / "iter_1.pth", 1)
    path = save(tmp_path / "iter_2.pth", 2)
    with zipfile.ZipFile(path) as archive:
        tensor = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(2).tobytes() * 4, tensor.header_offset)] ^= 1
    path.write_bytes(data)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    assert "checksum" in warnings[0]


def test_bare_weights_are_skipped(tmp_path, warnings):
    save(tmp_path / "iter_1.pth", 1)
    torch.save({"w": torch.zeros(1)}, tmp_path / "iter_2.pth")
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    assert "lacks ['meta', 'state_dict', 'message_hub']" in warnings[0]


def test_none_whole_is_said(tmp_path, warnings):
    assert last_whole_checkpoint(tmp_path / "none") is None
    assert last_whole_checkpoint(tmp_path) is None and not warnings
    cut(save(tmp_path / "iter_1.pth", 1))
    assert last_whole_checkpoint(tmp_path) is None
    assert "No checkpoint in" in warnings[-1]


def test_a_whole_file_with_code_stops_it(tmp_path):
    save(tmp_path / "iter_1.pth", 1)
    save(tmp_path / "iter_2.pth", 2, more=Run(os.mkdir, str(tmp_path / "trace")))
    with pytest.raises(CheckpointError, match=r"iter_2\.pth .*mkdir"):
        last_whole_checkpoint(tmp_path)
    assert not (tmp_path / "trace").exists()


def test_abandoned_temporary_files_are_removed(tmp_path):
    save(tmp_path / "iter_1.pth", 1)
    for name in (".iter_2.pth.123.tmp", ".other.tmp", "mine.tmp"):
        (tmp_path / name).write_bytes(b"half")
    last_whole_checkpoint(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".other.tmp", "iter_1.pth", "mine.tmp"]


def test_a_file_being_written_is_left_alone(tmp_path, monkeypatch):
    real = os.fsync

    def look(descriptor):
        last_whole_checkpoint(tmp_path)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    save_checkpoint({"a": 1}, str(tmp_path / "iter_3.pth"))
    assert read_checkpoint(tmp_path / "iter_3.pth") == {"a": 1}


HUB = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(meta=[1, 2]), "its meta is a list"),
        (dict(meta={"epoch": 0}), r"meta\['iter'\] is None"),
        (dict(meta={"epoch": 0, "iter": "9"}), r"meta\['iter'\] is '9'"),
        (dict(meta={"epoch": None, "iter": 9}), r"meta\['epoch'\] is None"),
        (dict(meta={"epoch": 0, "iter": -9}), r"meta\['iter'\] is -9"),
        (dict(meta={"epoch": 0, "iter": 9, "seed": "x"}), r"meta\['seed'\] is 'x'"),
        (dict(message_hub=[]), "message_hub is not a dict of log_scalars"),
        (dict(message_hub={**HUB, "runtime_info": 3}), "message_hub is not a dict of log_scalars"),
        (dict(state_dict=torch.zeros(3)), "state_dict does not map names"),
        (dict(state_dict={1: torch.zeros(3)}), "state_dict does not map names"),
        (dict(optimizer=[1]), "optimizer is a list"),
        (dict(param_schedulers=7), "param_schedulers are a int"),
    ],
)
def test_a_newest_file_with_odd_content_is_skipped_by_name(tmp_path, warnings, change, reason):
    save(tmp_path / "iter_1.pth", 1)
    save(tmp_path / "iter_2.pth", 2, **change)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    assert len(warnings) == 1 and re.search(rf"iter_2\.pth is skipped: .*{reason}", warnings[0])


def test_an_archive_of_something_else_is_skipped(tmp_path, warnings):
    save(tmp_path / "iter_1.pth", 1)
    with zipfile.ZipFile(tmp_path / "iter_2.pth", "w") as archive:
        archive.writestr("holiday.txt", "sun")
    torch.save([1, 2, 3], tmp_path / "iter_3.pth")
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    assert [name for text in warnings for name in re.findall(r"(iter_\d)\.pth is", text)] == [
        "iter_3",
        "iter_2",
    ]


def test_a_packed_archive_is_not_unpacked(tmp_path, warnings, monkeypatch):
    save(tmp_path / "iter_1.pth", 1)
    with zipfile.ZipFile(tmp_path / "iter_2.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    opened = []
    real = zipfile.ZipFile.open

    def watched(archive, *args, **kwargs):
        opened.append(os.path.basename(archive.filename))
        return real(archive, *args, **kwargs)

    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "iter_1.pth")
    assert "it is packed" in warnings[0]
    assert "iter_1.pth" in opened and "iter_2.pth" not in opened


class TestPlaces:
    """Places where CheckpointHook writes, by its own settings."""

    @pytest.mark.parametrize(
        ("hook", "file"),
        [
            (dict(out_dir="{root}/elsewhere"), "elsewhere/run/epoch_3.pth"),
            (dict(out_dir="{root}/elsewhere", by_epoch=False), "elsewhere/run/iter_3.pth"),
            (dict(filename_tmpl="step{:04d}_of_mine.pth"), "run/step0003_of_mine.pth"),
            (dict(filename_tmpl="my[x]_{}.pth"), "run/my[x]_3.pth"),
            (dict(filename_tmpl="latest.pth"), "run/latest.pth"),
            (dict(out_dir="{root}/o", filename_tmpl="m{0}.pth"), "o/run/m3.pth"),
        ],
    )
    def test_the_search_looks_where_the_hook_writes(self, tmp_path, hook, file):
        hook = {"type": "CheckpointHook"} | {
            key: value.replace("{root}", str(tmp_path)) if key == "out_dir" else value
            for key, value in hook.items()
        }
        (tmp_path / file).parent.mkdir(parents=True)
        save(tmp_path / file, 3)
        config = Config(dict(default_hooks=dict(checkpoint=hook)))
        assert last_whole_checkpoint(tmp_path / "run", config) == str(tmp_path / file)
        custom = Config(dict(custom_hooks=[hook]))
        assert last_whole_checkpoint(tmp_path / "run", custom) == str(tmp_path / file)

    def test_other_names_of_the_same_shape_are_not_taken(self, tmp_path):
        hook = dict(type="CheckpointHook", filename_tmpl="step{:04d}.pth")
        for name in ("step3.pth", "xstep0003.pth", "step0003.pth.bak", "best_step0003.pth"):
            save(tmp_path / name, 3)
        config = Config(dict(default_hooks=dict(checkpoint=hook)))
        assert last_whole_checkpoint(tmp_path, config) is None

    def test_a_folder_with_a_checkpoint_s_name_is_none(self, tmp_path):
        save(tmp_path / "epoch_3.pth", 3)
        (tmp_path / "epoch_4.pth").mkdir()
        assert last_whole_checkpoint(tmp_path) == str(tmp_path / "epoch_3.pth")

    def test_a_store_that_is_no_folder_wants_the_file(self, tmp_path):
        hook = dict(type="CheckpointHook", out_dir="s3://bucket/runs")
        with pytest.raises(ValueError, match=r"s3://bucket/runs.*--resume FILE"):
            last_whole_checkpoint(tmp_path, Config(dict(default_hooks=dict(checkpoint=hook))))

    def test_the_hook_itself_writes_there(self, tmp_path, monkeypatch):
        """mmengine's own rule for the folder, which the search repeats."""
        from mmengine.hooks import CheckpointHook

        class Runner:
            work_dir = str(tmp_path / "run")
            message_hub = type("Hub", (), {"runtime_info": {}})()
            logger = logging.getLogger("silent")

        hook = CheckpointHook(out_dir=str(tmp_path / "elsewhere"))
        hook.before_train(Runner)
        assert hook.out_dir == str(tmp_path / "elsewhere" / "run")
