"""No two configs share a work dir by default."""

import os
from pathlib import Path

import pytest

from kd_engine.work_dir import default as work_dir
from kd_engine.work_dir.default import default_work_dir


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A current folder with a folder next to it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("student.py", "work_dirs/student"),
        ("./student.py", "work_dirs/student"),
        ("projA/student.py", "work_dirs/projA/student"),
        ("projB/student.py", "work_dirs/projB/student"),
        ("r/../projA/student.py", "work_dirs/projA/student"),
        ("configs/mine/hmat.py", "work_dirs/mine/hmat"),
        ("configs/hmat_faster_rcnn.py", "work_dirs/hmat_faster_rcnn"),
        ("projA/configs/student.py", "work_dirs/projA/configs/student"),
        ("my.student.v2.py", "work_dirs/my.student.v2"),
        ("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
         "work_dirs/mmdet/faster_rcnn/faster-rcnn_r50_fpn_1x_coco"),
    ],
)  # fmt: skip
def test_folders_are_kept(name, wanted):
    assert default_work_dir(name) == Path(wanted)


def test_one_file_has_one_work_dir_however_it_is_named(here):
    for name in ("projA/student.py", "configs/mine/hmat.py"):
        assert default_work_dir(str(here / name)) == default_work_dir(name)
    outside = here.parent / "projA" / "student.py"
    wanted = Path("work_dirs", *outside.parts[1:]).with_suffix("")
    assert default_work_dir(str(outside)) == wanted
    assert default_work_dir("../projA/student.py") == wanted
    assert wanted != default_work_dir("projA/student.py")


def test_configs_of_this_repository_have_their_names_from_everywhere(here, monkeypatch):
    configs = Path(__file__).parents[3] / "configs"
    wanted = Path("work_dirs/det/teacher+bccd")
    assert default_work_dir(str(configs / "det/teacher.py")) == wanted
    assert default_work_dir(os.path.relpath(configs / "det/teacher.py")) == wanted
    (here / "link").symlink_to(configs.parent)
    assert default_work_dir("link/configs/det/teacher.py") == wanted
    monkeypatch.setattr(work_dir, "configs_folder", lambda: here / "elsewhere")
    assert default_work_dir(str(configs / "det/teacher.py")) != wanted
