"""A work dir stands for its best checkpoint, or else for its last whole one."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from kd_core.checkpoint.load import CheckpointError
from kd_engine.weights.source import WeightSource
from kd_engine.work_dir.run_checkpoint import checkpoint_file


@pytest.mark.parametrize("name", ["https://example.org/a", "s3://a/b", "none.pth", "none"])
def test_what_is_no_folder_stays(name):
    assert checkpoint_file(name) == name


def test_a_file_stays(tmp_path, save_run):
    path = str(save_run(tmp_path / "epoch_1.pth", 1))
    assert checkpoint_file(path) == path


def test_the_last_whole_one_without_a_best_one(tmp_path, save_run, capsys):
    for number in (2, 10, 9):
        save_run(tmp_path / f"epoch_{number}.pth", number)
    (tmp_path / "epoch_11.pth").write_bytes(b"PK cut off")
    assert checkpoint_file(str(tmp_path)) == str(tmp_path / "epoch_10.pth")
    assert f"{tmp_path}: {tmp_path / 'epoch_10.pth'} is taken" in capsys.readouterr().out


def test_the_best_one_comes_first(tmp_path, save_run, capsys):
    save_run(tmp_path / "epoch_10.pth", 10)
    best = save_run(tmp_path / "best_coco_bbox_mAP_epoch_7.pth", 7)
    assert checkpoint_file(f"{tmp_path}/") == str(best)
    newer = save_run(tmp_path / "best_coco_bbox_mAP_epoch_8.pth", 8)  # killed between the two
    assert checkpoint_file(str(tmp_path)) == str(newer)
    newer.write_bytes(newer.read_bytes()[:-200])
    assert checkpoint_file(str(tmp_path)) == str(best)
    best.write_bytes(b"")
    assert checkpoint_file(str(tmp_path)) == str(tmp_path / "epoch_10.pth")
    assert capsys.readouterr().out.count("is taken") == 4


def test_the_best_of_two_metrics_is_not_guessed(tmp_path, save_run):
    for name in ("best_coco_bbox_mAP_epoch_7.pth", "best_coco_bbox_mAP_50_epoch_7.pth"):
        save_run(tmp_path / name, 7)
    with pytest.raises(ValueError, match="best_coco_bbox_mAP_50_epoch_7.pth, .* Name one of the"):
        checkpoint_file(str(tmp_path))


def test_a_folder_without_one_is_refused(tmp_path):
    (tmp_path / "pretrained.pth").touch()
    with pytest.raises(FileNotFoundError, match=f"but {tmp_path} holds none"):
        checkpoint_file(str(tmp_path))


def test_another_folder_and_other_names_by_the_config(tmp_path, save_run):
    hook = dict(type="CheckpointHook", filename_tmpl="net-{}.pth", out_dir=str(tmp_path / "big"))
    run = Config(dict(default_hooks=dict(checkpoint=hook), train_cfg=dict(max_epochs=3)))
    work_dir = tmp_path / "work" / "teacher"
    work_dir.mkdir(parents=True)
    last = save_run(tmp_path / "big" / "teacher" / "net-3.pth", 3)
    assert checkpoint_file(str(work_dir), run) == str(last)
    config = tmp_path / "teacher.py"
    run.dump(config)
    assert checkpoint_file(str(work_dir), str(config)) == str(last)
    best = save_run(tmp_path / "big" / "teacher" / "best_acc_net-2.pth", 2)
    assert WeightSource.of(dict(checkpoint=str(work_dir), config=str(config))) == WeightSource(
        str(best)
    )


def test_wherever_weights_are_named(tmp_path, save_run):
    save_run(tmp_path / "epoch_3.pth", 3)
    for source in (WeightSource.of(dict(checkpoint=tmp_path)), WeightSource.named(str(tmp_path))):
        assert source.checkpoint == str(tmp_path / "epoch_3.pth")
    model = nn.Module()
    model.w = nn.Parameter(torch.zeros(4))
    WeightSource.named(str(tmp_path)).load_into(model)
    assert model.w.tolist() == [3.0] * 4
    with pytest.raises(CheckpointError, match="is a folder"):
        WeightSource(str(tmp_path)).read()
