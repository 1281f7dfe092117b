"""The wheel: what it holds, and that it works in a fresh environment, from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("kdkit", "kd_core", "kd_engine", "kd_det", "kd_retrieval", "kd_cls", "kd_face")
LEFT_OUT = (".git", ".venv*", "build", "data", "work_dirs", "*.egg-info", "__pycache__", ".*_cache")
pytestmark = pytest.mark.slow

LOOP = """
import torch
from torch import nn
import kdkit
from kd_core.losses import AttentionTransferLoss, HMATLoss, SoftTargetLoss
from kd_retrieval import recall_at_k

student, teacher = (nn.Sequential(nn.Conv2d(1, c, 3), nn.Flatten()) for c in (4, 8))
distiller = kdkit.distill(student, teacher, {"at": (AttentionTransferLoss(), "0")})
student(torch.randn(2, 1, 8, 8))
print(sorted(distiller.losses()), recall_at_k(torch.eye(3)[[0, 0, 1]], [5, 5, 6]).recall[1])
"""


def run(*command, folder, code=0):
    """Run a program without what the tests' own environment says; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KD_"))}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == code, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build it from a copy, so that the checkout stays as it is, with setuptools as installed."""
    folder = tmp_path_factory.mktemp("build")
    top = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(
        ROOT,
        folder / "source",
        ignore=lambda path, names: (
            top(path, names) if Path(path) == ROOT else {n for n in names if n == "__pycache__"}
        ),
    )
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, folder / "source", folder=folder)
    (built,) = folder.glob("kdkit-*.whl")
    return built


def new_environment(folder, wheel):
    """Make an environment that holds the wheel alone; return its folder of packages."""
    venv.create(folder / "venv", symlinks=os.name != "nt")
    pip = (sys.executable, "-m", "pip", "--python", folder / "venv" / "bin" / "python", "install")
    run(*pip, "--no-deps", "--no-index", "--quiet", wheel, folder=folder)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    return packages


def base_requirements():
    """Return the distributions that an install without extras brings, and theirs."""
    found, sought = {}, ["kdkit"]
    while sought:
        name = sought.pop()
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                sought.append(re.sub(r"[-_.]+", "-", requirement.name).lower())
    return {name: one for name, one in found.items() if name != "kdkit"}


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory):
    """The base install; its requirements are links to the packages of this environment."""
    folder = tmp_path_factory.mktemp("base")
    packages = new_environment(folder, wheel)
    for distribution in base_requirements().values():
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(distribution.locate_file(top))
    return folder


@pytest.fixture(scope="module")
def full(wheel, tmp_path_factory):
    """The wheel over all packages of this environment.

    Installing torch and mmdet afresh takes minutes and gigabytes. A path in a .pth file makes them
    importable and does not run their own .pth files, so that an editable kdkit stays out.
    """
    folder = tmp_path_factory.mktemp("full")
    packages = new_environment(folder, wheel)
    here = Path(metadata.distribution("torch").locate_file("")).resolve()
    (packages / "running.pth").write_text(f"{here}\n")
    return folder


def test_the_wheel_holds_packages_types_and_configs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.py")}
    held = {n.removeprefix("kdkit/") for n in names if n.startswith("kdkit/configs/")}
    assert {name for name in held if name.endswith(".py")} == configs
    wanted = {
        p.relative_to(ROOT).as_posix() for one in PACKAGES for p in (ROOT / one).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py") and name not in wanted} == {
        f"kdkit/{name}" for name in configs
    }
    assert wanted <= set(names)


def test_the_base_install_distils_and_measures_recall(base):
    python = base / "venv" / "bin" / "python"
    assert run(python, "-c", LOOP, folder=base).strip() == "['loss_at'] 1.0"
    absent = run(python, "-c", "import mmengine", folder=base, code=1)
    assert "No module named 'mmengine'" in absent


def test_the_base_install_has_the_command_and_says_which_extra_it_lacks(base):
    kdkit = base / "venv" / "bin" / "kdkit"
    assert run(kdkit, "--version", folder=base).split() == ["kdkit", metadata.version("kdkit")]
    assert "train" in run(kdkit, "--help", folder=base)
    text = run(kdkit, "train", "kdkit::demo/student", folder=base, code=1)
    assert "pip install 'kdkit[onedl]'" in text


def test_the_installed_command_trains_a_built_in_config_in_an_empty_folder(full, tmp_path):
    python, kdkit = (full / "venv" / "bin" / name for name in ("python", "kdkit"))
    where = "import kdkit, kd_engine.config.builtin as b; print(kdkit.__file__, b.configs_folder())"
    home = str(full / "venv")
    assert all(path.startswith(home) for path in run(python, "-c", where, folder=tmp_path).split())
    once = ("--cfg-options", "train_cfg.max_epochs=1", "train_cfg.val_interval=1")
    text = run(kdkit, "train", "kdkit::cls/student+digits", *once, folder=tmp_path)
    assert "cls/top1" in text
    assert [path.name for path in tmp_path.iterdir()] == ["work_dirs"]
    (run_folder,) = (tmp_path / "work_dirs" / "cls").iterdir()
    assert (run_folder / "epoch_1.pth").is_file()


def test_the_installed_command_distils_with_configs_of_ones_own(full, tmp_path):
    """Teacher and base are named as a user names them, and the command runs in another folder."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "here").mkdir()
    short = "train_cfg = dict(max_epochs=1, val_interval=1)\n"
    (tmp_path / "mine" / "teacher.py").write_text(f'_base_ = "kdkit::cls/teacher.py"\n{short}')
    (tmp_path / "mine" / "student.py").write_text(
        f'_base_ = "kdkit::cls/kd.py"\n{short}'
        'model = dict(teacher=dict(config="teacher.py", checkpoint="work_dirs/t/epoch_1.pth"))\n'
    )
    kdkit = full / "venv" / "bin" / "kdkit"
    text = run(kdkit, "train", "../mine/student.py", "--with-teacher", folder=tmp_path / "here")
    assert "loss_kd" in text
    assert (tmp_path / "here" / "work_dirs" / "t" / "epoch_1.pth").is_file()
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["work_dirs"]
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "student.py",
        "teacher.py",
    ]
