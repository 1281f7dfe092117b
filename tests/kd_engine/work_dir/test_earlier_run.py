"""A run in the work dir is neither mixed with a new one nor lost unasked."""

import pytest
from mmengine.config import Config

from kd_engine.work_dir.earlier_run import earlier_run
from kd_engine.work_dir.lock import hold_work_dir


@pytest.fixture
def config(tmp_path):
    """A run of six epochs."""
    return Config(dict(work_dir=str(tmp_path / "run"), train_cfg=dict(max_epochs=6), model={}))


@pytest.fixture
def fill(tmp_path):
    """Put files into the work dir; a name with a slash at the end is a folder with a file."""

    def put(*names, signed=None):
        for name in names:
            path = tmp_path / "run" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir()
                (path / "inside").touch()
            else:
                path.touch()
        if signed:
            with hold_work_dir(tmp_path / "run") as lock:
                lock.sign(str(signed), begins=True)

    return put


def refusal(config, name="a.py"):
    with pytest.raises(FileExistsError) as error:
        earlier_run(config).require_none(name)
    return str(error.value)


@pytest.mark.parametrize("last", [6, 12])
def test_a_finished_run(config, fill, tmp_path, last):
    config.train_cfg.max_epochs = last
    fill(f"epoch_{last}.pth", f"epoch_{last - 1}.pth", signed=tmp_path / "a.py")
    text = refusal(config, str(tmp_path / "a.py"))
    assert f"{tmp_path / 'run'} holds a finished run (epoch_{last}.pth and 1 more)" in text
    assert "--overwrite removes" in text and "--work-dir" in text and "--resume" not in text


def test_a_run_of_another_config(config, fill, tmp_path):
    fill("epoch_3.pth", signed=tmp_path / "projA" / "student.py")
    text = refusal(config, str(tmp_path / "projB" / "student.py"))
    assert f"holds a run of another config, {tmp_path / 'projA/student.py'} (epoch_3.pth)" in text
    assert "--resume" not in text


def test_an_unfinished_run_of_the_same_config(config, fill, tmp_path):
    fill("epoch_9.pth", "epoch_10.pth", "best_acc_epoch_9.pth", signed=tmp_path / "a.py")
    config.train_cfg.max_epochs = 12
    text = refusal(config, str(tmp_path / "r" / ".." / "a.py"))
    assert "holds a run (epoch_10.pth and 2 more). --resume continues it" in text


@pytest.mark.parametrize("name", ["epoch_1.pth", "iter_700.pth", "best_coco_bbox_mAP_epoch_7.pth"])
def test_a_run_of_an_earlier_version_has_no_note(config, fill, name):
    fill(name)
    assert name in refusal(config) and "another config" not in refusal(config)


def test_own_names_and_another_folder(config, fill, tmp_path):
    hook = dict(type="CheckpointHook", out_dir=str(tmp_path / "big"), filename_tmpl="net-{}.pth")
    config.default_hooks = dict(checkpoint=hook)
    (tmp_path / "big" / "run").mkdir(parents=True)
    (tmp_path / "big" / "run" / "net-3.pth").touch()
    assert "net-3.pth" in refusal(config)
    earlier_run(config).remove()
    earlier_run(config).require_none("a.py")
    assert (tmp_path / "big" / "run").is_dir()


def test_what_is_no_checkpoint_is_no_run(config, fill, tmp_path):
    earlier_run(config).require_none("a.py")
    fill("20260101_101010/", "a.py", "pretrained.pth", "epoch_.pth", "seed0/", signed="b.py")
    earlier_run(config).require_none("a.py")
    fill("epoch_1.pth")
    assert "epoch_1.pth" in refusal(config)


def test_overwriting_removes_checkpoints_and_logs_alone(config, fill, tmp_path, capsys):
    old = ["epoch_1.pth", "iter_5.pth", "best_acc_epoch_1.pth", "last_checkpoint"]
    fill(*old, "20260101_101010/", "seed0/", "notes.txt", "pretrained.pth")
    (tmp_path / "run" / "epoch_2.pth").symlink_to(tmp_path / "run" / "pretrained.pth")
    found = earlier_run(config)
    fill("20260102_101010/")  # of the new run
    found.remove()
    left = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert left == ["20260102_101010", "notes.txt", "pretrained.pth", "seed0"]
    assert "removed 4 checkpoint(s)" in capsys.readouterr().out
    earlier_run(config).require_none("a.py")


def test_overwriting_keeps_what_the_new_run_reads(config, fill, tmp_path):
    fill("epoch_1.pth")
    found = earlier_run(config)
    found.require_unneeded(iter([str(tmp_path / "other.pth"), "https://example.org/epoch_1.pth"]))
    name = str(tmp_path / "run" / ".." / "run" / "epoch_1.pth")
    with pytest.raises(ValueError, match="would remove .*epoch_1.pth, which the config"):
        found.require_unneeded(iter([name]))
