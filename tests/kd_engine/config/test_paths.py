"""The rule for paths in config files, from several folders."""

import os
from pathlib import Path

import pytest

from kd_engine.config.file import read_config
from kd_engine.config.paths import installed_path, resolve_paths, shown_path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Configs in one folder, and another one in which the command runs."""
    monkeypatch.delenv("KD_DATA", raising=False)
    (tmp_path / "project" / "parts").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


TEACHER = 'model = dict(teacher=dict(config="{}", checkpoint="{}"))'


def test_teachers_are_relative_to_the_file(project):
    config = read_config(write(project / "a.py", TEACHER.format("big.py", "../big.pth")))
    assert config.model.teacher.config == str(project / "big.py")
    assert config.model.teacher.checkpoint == str(project.parent / "big.pth")


def test_each_path_is_relative_to_the_file_that_it_stands_in(project):
    write(
        project / "parts" / "base.py",
        'model = dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="a.pth")))',
        'trained = dict(config="small.py", checkpoint="small.pth")',
    )
    file = write(
        project / "a.py",
        '_base_ = "parts/base.py"',
        'model = dict(neck=dict(checkpoint="b.pth"), peers=[{{_base_.trained}}])',
        'load_from = "c.pth"',
    )
    config = read_config(os.path.relpath(file))
    assert config.model.backbone.init_cfg.checkpoint == str(project / "parts" / "a.pth")
    assert config.model.neck.checkpoint == str(project / "b.pth")
    assert config.model.peers[0] == config.trained
    assert config.trained.config == str(project / "parts" / "small.py")
    assert config.load_from == str(project / "c.pth")


def test_the_current_folder_changes_nothing(project, monkeypatch):
    file = write(project / "a.py", TEACHER.format("big.py", "big.pth"))
    found = read_config(file)
    monkeypatch.chdir(project)
    assert read_config("a.py").model == found.model


@pytest.mark.parametrize(
    "stays",
    [
        "work_dirs/big/epoch_3.pth",
        "./work_dirs/big",
        "/weights/big.pth",
        "~/big.pth",
        "torchvision://resnet18",
        "https://host/big.pth",
        "kdkit::cls/kd.py",
        "mmdet::big/big.py",
        "",
    ],
)
def test_what_no_file_names_relatively_stays_as_it_is(project, stays):
    config = read_config(write(project / "a.py", TEACHER.format(stays, stays)))
    assert dict(config.model.teacher) == dict(config=stays, checkpoint=stays)


def test_downloads_are_where_the_command_runs(project):
    config = read_config(write(project / "a.py", TEACHER.format("data/a.py", "data/big.pth")))
    assert config.model.teacher.checkpoint == "data/big.pth"
    assert config.model.teacher.config == str(project / "data" / "a.py")  # no download


def test_downloads_may_be_in_a_folder_of_another_name(project, monkeypatch):
    monkeypatch.setenv("KD_DATA", "sets")
    config = read_config(write(project / "a.py", 'load_from = "{{$KD_DATA:data}}/w.pth"'))
    assert config.load_from == "sets/w.pth"


def test_paths_of_data_and_other_values_stay(project):
    lines = (
        'data_root = "sets/mine"',
        'file = "mine.csv"',
        'config = "x"',
        'default_hooks = dict(checkpoint=dict(type="CheckpointHook", out_dir="there"))',
        "model = dict(checkpoint=None, pretrained=True)",
    )
    config = read_config(write(project / "a.py", *lines))
    assert (config.data_root, config.file, config["config"]) == ("sets/mine", "mine.csv", "x")
    assert config.default_hooks.checkpoint.out_dir == "there"
    assert config.model == dict(checkpoint=None, pretrained=True)


def test_stored_embeddings_are_weights(project):
    line = 'model = dict(teacher=dict(type="kd_retrieval.StoredEmbeddings", file="e"))'
    assert read_config(write(project / "a.py", line)).model.teacher.file == str(project / "e")


def test_other_packages_keep_their_own_rule(project):
    config = read_config("mmdet::selfsup_pretrain/mask-rcnn_r50-swav-pre_fpn_1x_coco.py")
    assert config.model.backbone.init_cfg.checkpoint == "./swav_800ep_pretrain.pth.tar"


def test_a_composed_config_is_relative_to_its_method(project):
    (project / "data").mkdir()
    for name in ("apples", "pears"):
        write(project / "data" / f"{name}.py", f'fruit, load_from = "{name}", "{name}.pth"')
    write(project / "kd.py", '_base_ = "data/apples.py"', TEACHER.format("big.py", "big.pth"))
    config = read_config(f"{project}/kd+pears")
    assert config.fruit == "pears" and config.load_from == str(project / "data" / "pears.pth")
    assert config.model.teacher.config == str(project / "big.py")


@pytest.mark.parametrize("method", ["kdkit::cls/kd", "kd", "kd.py"])
def test_a_dataset_s_file_is_relative_to_the_config_that_names_it(project, method):
    write(project / "kd.py", '_base_ = "data/apples.py"')
    file = write(project / "a.py", TEACHER.format(f"{method}+parts/pears.py", "work_dirs/x"))
    found = method if "::" in method else str(project / method)
    assert read_config(file).model.teacher.config == f"{found}+{project}/parts/pears.py"
    file = write(project / "b.py", TEACHER.format(f"{method}+pears", "work_dirs/x"))
    assert read_config(file).model.teacher.config == f"{found}+pears"


def test_a_plus_in_a_path_is_no_dataset(project):
    file = write(project / "a.py", TEACHER.format("c++/big.py", "c++/big.pth"))
    assert read_config(file).model.teacher.config == str(project / "c++" / "big.py")


def test_yaml_and_json_keep_the_rule(project):
    file = write(project / "a.yaml", "model: {teacher: {config: big.py, checkpoint: big.pth}}")
    assert read_config(file).model.teacher.config == str(project / "big.py")


def test_configs_in_pure_python_keep_the_rule(project):
    write(project / "parts" / "base.py", 'model = dict(neck=dict(checkpoint="a.pth"))')
    file = write(
        project / "a.py",
        "from mmengine.config import read_base",
        "with read_base():",
        "    from .parts.base import *",
        'load_from = "b.pth"',
    )
    config = read_config(file)
    assert config.model.neck.checkpoint == str(project / "parts" / "a.pth")
    assert config.load_from == str(project / "b.pth")


def test_tuples_and_lists_are_looked_into():
    values = dict(parts=[(dict(checkpoint="a.pth"),)])
    resolve_paths(values, Path("/there"))
    assert values["parts"][0][0]["checkpoint"] == "/there/a.pth"


def test_a_path_is_shown_as_a_user_would_write_it(project):
    assert shown_path(str(Path.cwd() / "a" / "b.pth")) == "a/b.pth"
    assert shown_path("/somewhere/b.pth") == "/somewhere/b.pth"
    assert shown_path("kdkit::a") == "kdkit::a"


def test_a_folder_of_mmdet_whose_name_mmengine_refuses(tmp_path):
    name = "mmdet::gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py"
    assert read_config(name).model.backbone.conv_cfg.type == "ConvWS"
    child = tmp_path / "child.py"
    child.write_text(f"_base_ = '{name}'\n")
    assert read_config(str(child)).model.backbone.conv_cfg.type == "ConvWS"
    assert installed_path("mmdet::gn+ws/none.py") == "mmdet::gn+ws/none.py"
    assert installed_path("no_such_package::a+b/c.py") == "no_such_package::a+b/c.py"
