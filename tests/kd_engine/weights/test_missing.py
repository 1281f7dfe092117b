"""Missing weights: both readers name the command that makes the file."""

import pytest
from mmengine.runner import CheckpointLoader

from kd_engine.weights.checkpoint import use_safe_checkpoints
from kd_engine.weights.source import read_engine_checkpoint

MAKES_IT = r"kdkit::cls/student\+digits writes it.*kdkit train kdkit::cls/student\+digits - or"


def by_mmengine(path: str) -> None:
    use_safe_checkpoints()
    CheckpointLoader.load_checkpoint(path)


@pytest.mark.parametrize("read", [read_engine_checkpoint, by_mmengine])
@pytest.mark.parametrize(
    "path, words",
    [
        ("work_dirs/cls/student+digits/epoch_6.pth", MAKES_IT),
        ("{folder}/work_dirs/cls/student+digits/epoch_6.pth", MAKES_IT),
        ("{folder}/mobilenet_v2_imagenet.safetensors", "kdkit fetch mobilenet-v2"),
        ("work_dirs/mine/epoch_6.pth", "no checkpoint.*Check the path"),
        ("{folder}/other.pth", "no checkpoint.*Check the path"),
    ],
)
def test_a_missing_file_is_named_with_what_makes_it(read, path, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=words):
        read(path.format(folder=tmp_path))
