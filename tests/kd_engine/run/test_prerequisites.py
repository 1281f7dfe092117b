"""Phases: what a config needs first is found, named when missing, trained in order, once."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.run import prerequisites as phases
from kd_engine.run.prerequisites import references_of, require_trained, train_missing
from kd_engine.weights.checkpoint import ALLOWED
from kdkit.cli import main

ROOT = Path(__file__).parents[3]
KINDS = ["teacher", "pretrained", "peers.0", "peers.1"]


def reference(folder, name, text="train_cfg = dict(max_epochs=1)\nmodel = dict()\n"):
    (folder / f"{name}.py").write_text(text)
    return dict(config=f"{folder}/{name}.py", checkpoint=str(folder / name / "epoch_1.pth"))


@pytest.fixture
def config(tmp_path):
    """A config that needs four trained networks."""
    model = dict(
        type="Any",
        student=dict(type="Other", config="not one", depth=3),
        teacher=reference(tmp_path, "teacher"),
        pretrained=reference(tmp_path, "pretrained"),
        peers=[reference(tmp_path, "first"), reference(tmp_path, "second")],
        layers=["network.pool"],
    )
    return Config(dict(model=model, launcher="none", work_dir=str(tmp_path / "student")))


def finish(item):
    path = Path(item["checkpoint"])
    path.parent.mkdir(exist_ok=True)
    path.touch()


@pytest.fixture
def runs(monkeypatch):
    """Note what would run; a run ends well and writes its checkpoint unless `codes` says not."""
    noted = SimpleNamespace(commands=[], codes={}, checkpoint="epoch_1.pth")

    def run(command):
        noted.commands.append(command)
        code = noted.codes.get(Path(command[1]).stem, 0)
        if not code:
            finish(dict(checkpoint=Path(command[-1]) / noted.checkpoint))
        return code

    monkeypatch.setattr(phases, "run_child", run)
    return noted


def trained(runs):
    return [Path(command[1]).stem for command in runs.commands]


def test_what_refers_is_found_by_its_keys(config):
    found = dict(references_of(config.model))
    assert list(found) == KINDS
    assert found["peers.1"]["config"].endswith("/second.py")
    assert not list(references_of(dict(type="Any", network=dict(checkpoint="a.pth"))))


@pytest.mark.parametrize("number", range(4))
def test_what_is_missing_is_named_with_what_mends_it(config, number):
    items = dict(references_of(config.model))
    for name, item in items.items():
        if name != KINDS[number]:
            finish(item)
    lost = items[KINDS[number]]
    with pytest.raises(FileNotFoundError) as error:
        require_trained(config)
    text = str(error.value)
    start = f"{KINDS[number]} is trained before this, but its checkpoint"
    assert f"{start} {lost['checkpoint']} is missing" in text
    folder = Path(lost["checkpoint"]).parent
    command = f"kdkit train {lost['config']} --work-dir {folder}"
    assert f"{command}, let --with-teacher do it" in text
    option = text.split("--cfg-options ")[1].split("=")[0]
    other = lost["checkpoint"].replace("epoch_1", "epoch_2")
    finish(dict(checkpoint=other))
    config.merge_from_dict({option: other})
    require_trained(config)


@pytest.mark.parametrize("path", [None, "https://example.org/a.pth"])
def test_what_is_no_local_file_is_not_missing(config, path, runs):
    for _, item in references_of(config.model):
        item["checkpoint"] = path
    require_trained(config)
    train_missing(config, ["train.py"])
    assert not runs.commands


def test_each_is_trained_in_order_in_the_folder_of_its_checkpoint(config, runs, tmp_path):
    train_missing(config, ["tools/train.py"])
    assert runs.commands == [
        ["tools/train.py", f"{tmp_path}/{name}.py", "--resume", "--with-teacher",
         "--work-dir", str(tmp_path / name)]
        for name in ("teacher", "pretrained", "first", "second")
    ]  # fmt: skip
    require_trained(config)
    train_missing(config, ["tools/train.py"])
    assert len(runs.commands) == 4


def test_it_goes_on_where_it_stopped(config, runs):
    finish(config.model.teacher)
    runs.codes["first"] = 7
    with pytest.raises(SystemExit) as stop:
        train_missing(config, ["train.py"])
    assert stop.value.code == 7 and trained(runs) == ["pretrained", "first"]
    runs.codes.clear()
    train_missing(config, ["train.py"])
    assert trained(runs) == ["pretrained", "first", "first", "second"]


def test_what_serves_two_is_trained_once(config, runs):
    config.model.peers = [copy.deepcopy(config.model.teacher)] * 2
    train_missing(config, ["train.py"])
    assert trained(runs) == ["teacher", "pretrained"]


def test_a_training_that_writes_another_file_is_told_afterwards(config, runs):
    runs.checkpoint = "epoch_9.pth"
    with pytest.raises(FileNotFoundError, match="still missing: .*/teacher holds epoch_9.pth. Na"):
        train_missing(config, ["train.py"])
    assert trained(runs) == ["teacher"]


@pytest.mark.parametrize(
    ("source", "launcher"),
    [
        ("mmdet::faster_rcnn/some.py", "none"),
        (dict(type="Any"), "none"),
        ("configs/first.py", "pytorch"),
    ],
)
def test_only_config_files_in_one_process_are_trained(config, runs, source, launcher):
    for item in (config.model.teacher, config.model.pretrained):
        finish(item)
    config.launcher, config.model.peers[0].config = launcher, source
    with pytest.raises(ValueError, match="in one process, but peers.0 is .* Train it before"):
        train_missing(config, ["train.py"])
    assert not runs.commands


def test_a_model_config_that_is_missing_its_weights_is_told_without_a_command(config):
    config.model.teacher.config = dict(type="Any")
    with pytest.raises(FileNotFoundError, match="Train the .* first, let"):
        require_trained(config)


CHAIN = """
_base_ = {base!r}
model = dict(
    _delete_=True, type="kd_cls.CKDMKT", student={{{{_base_.model}}}},
    pretrained=dict(config={one!r}, checkpoint={first!r}),
    peers=[dict(config={two!r}, checkpoint={second!r})],
)
"""
SHORT = """
_base_ = {base!r}
train_cfg = dict(max_epochs=1, val_interval=2)
train_dataloader = dict(batch_size=16, num_batch_per_epoch=2)
log_level = "WARNING"
"""


@pytest.mark.slow
def test_a_chain_trains_what_is_missing_and_then_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")  # the tool sets it
    digits = ROOT / "configs/cls"
    one, two, both = (tmp_path / f"{name}.py" for name in ("one", "two", "both"))
    one.write_text(SHORT.format(base=str(digits / "student.py")))
    two.write_text(SHORT.format(base=str(digits / "teacher.py")))
    paths = {path: tmp_path / path.stem / "epoch_1.pth" for path in (one, two, both)}
    both.write_text(CHAIN.format(
        base=str(one), one=str(one), two=str(two), first=str(paths[one]), second=str(paths[two])
    ))  # fmt: skip

    def train(path, *options):
        with pytest.raises(SystemExit) as stop:
            main(["train", str(path), "--work-dir", str(tmp_path / path.stem), *options])
        assert not stop.value.code

    train(one)
    before = paths[one].stat().st_mtime_ns
    train(both, "--with-teacher")
    weights = [read_checkpoint(paths[path], ALLOWED)["state_dict"] for path in (one, two, both)]
    assert weights[2].pop("distiller.iteration") == 2
    beside = {f"distiller.peers.0.{key}" for key in weights[1]}
    assert set(weights[2]) == set(weights[0]) | beside
    key = "network.stem.1.num_batches_tracked"  # phase 2 went on from phase 1
    assert [weights[0][key], weights[1][key], weights[2][key]] == [2, 2, 4]
    assert weights[2][f"distiller.peers.0.{key}"] == 4
    times = [paths[path].stat().st_mtime_ns for path in (one, two)]
    assert times[0] == before
    train(both, "--with-teacher", "--resume", "--cfg-options", "train_cfg.max_epochs=2")
    assert times == [paths[path].stat().st_mtime_ns for path in (one, two)]
    assert (tmp_path / "both" / "epoch_2.pth").is_file()
