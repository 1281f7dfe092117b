"""A training started in an empty folder, with configs that lie elsewhere."""

import pytest

from ..forked import ROOT, run

SMALL = """
_base_ = "kdkit::cls/data/digits.py"
train_cfg = dict(max_epochs=1, val_interval=1)
schedules = dict(teacher=dict(train_cfg=train_cfg))
trained = dict(
    teacher=dict(
        config="kdkit::cls/teacher+small.py", checkpoint="work_dirs/cls/teacher+small/epoch_1.pth"
    )
)
"""


@pytest.mark.slow
def test_the_teacher_and_the_dataset_are_found(tmp_path):
    """The teacher is one of ours on a dataset's file that is named relative to itself."""
    method = ROOT / "configs" / "cls" / "kd.py"
    mine, here = tmp_path / "mine", tmp_path / "here"
    mine.mkdir()
    here.mkdir()
    (mine / "small.py").write_text(SMALL)
    command = ["train", f"{method}+../mine/small.py", "--with-teacher"]
    code = run(command, tmp_path / "log.txt", folder=here)
    said = (tmp_path / "log.txt").read_text()
    assert code == 0, said[-4000:]
    assert "loss_kd" in said
    found = {path.relative_to(here).as_posix() for path in here.rglob("*.pth")}
    assert found == {f"work_dirs/cls/{name}+small/epoch_1.pth" for name in ("kd", "teacher")}
    assert [path.name for path in mine.iterdir() if path.suffix] == ["small.py"]
