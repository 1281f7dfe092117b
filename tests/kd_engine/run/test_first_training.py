"""Before anything is trained it is known whether a training leaves the checkpoint that is named."""

import os

import pytest
from mmengine.config import Config

from kd_engine.run import prerequisites as phases
from kd_engine.run.first_training import FirstTraining
from kd_engine.run.prerequisites import require_trained, settle_work_dirs, train_missing


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """Commands that would run; none of them does anything."""
    noted = []
    monkeypatch.setattr(phases, "run_child", lambda command: noted.append(command) or 0)
    return noted


def write(name, epochs=6, model=None, **hook):
    hooks = f"default_hooks = dict(checkpoint={dict(type='CheckpointHook', **hook)!r})\n"
    with open(name, "w") as file:
        file.write(f"train_cfg = dict(max_epochs={epochs})\n{hooks if hook else ''}")
        file.write(f"model = {model or {}!r}\n")


def student(checkpoint, source="teacher.py", **more):
    teacher = dict(config=source, checkpoint=checkpoint)
    return Config(
        dict(model=dict(teacher=teacher, **more), launcher="none", work_dir="work_dirs/s")
    )


def refusals(config):
    """The message with and without --with-teacher."""
    with pytest.raises(FileNotFoundError) as first:
        require_trained(config)
    with pytest.raises(FileNotFoundError) as second:
        train_missing(config, ["train.py"])
    assert str(first.value) == str(second.value)
    return str(first.value)


@pytest.mark.parametrize(
    ("hook", "name", "leaves"),
    [
        ({}, "epoch_9.pth", "epoch_1.pth, epoch_2.pth, ..., epoch_6.pth"),
        (dict(interval=1, max_keep_ckpts=2), "epoch_4.pth", "epoch_5.pth, epoch_6.pth"),
        (dict(interval=4), "epoch_5.pth", "epoch_4.pth, epoch_6.pth"),
        (dict(interval=4), "iter_4.pth", "epoch_4.pth, epoch_6.pth"),
        (dict(interval=1, filename_tmpl="t{}.pth"), "epoch_6.pth", "t1.pth, t2.pth, ..., t6.pth"),
        (dict(interval=3), "teacher.pth", "epoch_3.pth, epoch_6.pth"),
        (dict(interval=3), "best_acc_epoch_6.pth", "epoch_3.pth, epoch_6.pth"),
        (dict(interval=-1, save_last=False, save_best="acc"), "epoch_6.pth", "best_epoch_N.pth"),
    ],
)
def test_a_name_that_its_schedule_never_leaves(commands, hook, name, leaves):
    write("teacher.py", **hook)
    text = refusals(student(f"work_dirs/t/{name}"))
    assert f"checkpoint work_dirs/t/{name} is missing, and its training would" in text
    command = "kdkit train teacher.py --work-dir work_dirs/t"
    assert f"Train the teacher first: {command}, or let --with-teacher" in text
    assert f"leaves {leaves} and never {name}. Name" in text
    if "best_epoch" not in leaves:
        last = leaves.split(", ")[-1]
        assert f"--cfg-options model.teacher.checkpoint=work_dirs/t/{last}, or its" in text
    assert "model.teacher.checkpoint=work_dirs/t, which stands for" in text
    assert not commands


def test_the_number_of_the_best_is_not_known_before(commands):
    write("teacher.py", interval=1, save_best="acc")
    text = refusals(student("work_dirs/t/best_acc_epoch_3.pth"))
    assert "it is not known in advance which epoch is the best" in text
    assert "--cfg-options model.teacher.checkpoint=work_dirs/t, which" in text


def test_a_config_that_saves_nothing(commands):
    write("teacher.py", interval=-1, save_last=False)
    for named in ("work_dirs/t", "work_dirs/t/epoch_6.pth"):
        assert "its config saves none" in refusals(student(named))


def test_a_folder_of_its_own_for_checkpoints(commands):
    write("teacher.py", interval=6, out_dir="big")
    text = refusals(student("work_dirs/t/epoch_6.pth"))
    assert "out_dir puts checkpoints into big/t. Name what it leaves, " in text
    assert "model.teacher.checkpoint=big/t/epoch_6.pth" in text
    assert not FirstTraining("teacher", "big/t/epoch_6.pth", "teacher.py").problem
    assert not FirstTraining("teacher", "work_dirs/t", "teacher.py").problem


@pytest.mark.parametrize(
    ("source", "checkpoint", "command"),
    [
        ("teacher.py", "work_dirs/teacher/epoch_6.pth", "teacher.py"),
        ("teacher.py", "work_dirs/teacher", "teacher.py"),
        ("teacher.py", "elsewhere/epoch_6.pth", "teacher.py --work-dir elsewhere"),
        ("teacher.py", "a b/epoch_6.pth", "teacher.py --work-dir 'a b'"),
        ("own.py", "own/epoch_6.pth", "own.py"),
        ("own.py", "work_dirs/own/epoch_6.pth", "own.py --work-dir work_dirs/own"),
    ],
)
def test_the_command_trains_where_the_checkpoint_is_expected(source, checkpoint, command):
    write("teacher.py")
    with open("own.py", "w") as file:
        file.write("work_dir = 'own'\ntrain_cfg = dict(max_epochs=6)\nmodel = dict()\n")
    with pytest.raises(FileNotFoundError) as error:
        require_trained(student(checkpoint, source))
    assert f"first: kdkit train {command}, let --with-teacher" in str(error.value)


def test_the_command_continues_what_is_begun(save_run, here):
    write("teacher.py")
    save_run(here / "work_dirs/teacher/epoch_2.pth", 2)
    with pytest.raises(FileNotFoundError, match="kdkit train teacher.py --resume, let"):
        require_trained(student("work_dirs/teacher/epoch_6.pth"))


class TestWorkDirs:
    def test_the_file_is_settled(self, save_run, here, capsys):
        write("teacher.py")
        save_run(here / "work_dirs/t/epoch_6.pth", 6)
        config = student("work_dirs/t")
        require_trained(config)
        assert config.model.teacher.checkpoint == os.path.abspath("work_dirs/t/epoch_6.pth")
        captured = capsys.readouterr()
        assert "is taken" in captured.out and not captured.err

    def test_a_missing_one_is_trained_where_it_is_named(
        self, commands, save_run, here, monkeypatch
    ):
        write("teacher.py")

        def run(command):
            commands.append(command)
            save_run(here / "work_dirs/t.v2/epoch_6.pth", 6)
            return 0

        monkeypatch.setattr(phases, "run_child", run)
        train_missing(student("work_dirs/t.v2"), ["train.py"])
        assert [command[-1] for command in commands] == ["work_dirs/t.v2"]
        train_missing(student("work_dirs/t.v2"), ["train.py"])
        assert len(commands) == 1

    @pytest.mark.parametrize("best", [False, True])
    def test_an_unfinished_one_is_a_warning_and_is_finished(
        self, commands, save_run, here, capsys, best
    ):
        write("teacher.py")
        save_run(here / "work_dirs/t/epoch_3.pth", 3)
        if best:
            save_run(here / "work_dirs/t/best_acc_epoch_2.pth", 2)
        config = student("work_dirs/t")
        require_trained(config)
        assert "is at epoch_3.pth, and it ends with epoch_6.pth" in capsys.readouterr().err
        train_missing(student("work_dirs/t"), ["train.py"])
        assert len(commands) == 1
        distributed = student("work_dirs/t")
        distributed.launcher = "pytorch"
        train_missing(distributed, ["train.py"])
        assert len(commands) == 1

    def test_it_is_settled_early_unless_it_is_to_be_finished(self, save_run, here):
        write("teacher.py")
        save_run(here / "work_dirs/t/epoch_3.pth", 3)
        config = student("work_dirs/t")
        settle_work_dirs(config, unfinished=False)
        assert config.model.teacher.checkpoint == "work_dirs/t"
        settle_work_dirs(config)
        assert config.model.teacher.checkpoint == os.path.abspath("work_dirs/t/epoch_3.pth")
        absent = student("work_dirs/none")
        settle_work_dirs(absent)
        assert absent.model.teacher.checkpoint == "work_dirs/none"

    def test_one_that_may_stop_early_is_not_unfinished(self, commands, save_run, here, capsys):
        write("teacher.py")
        with open("teacher.py", "a") as file:
            file.write("custom_hooks = [dict(type='EarlyStoppingHook', monitor='acc')]\n")
        save_run(here / "work_dirs/t/epoch_3.pth", 3)
        require_trained(student("work_dirs/t"))
        train_missing(student("work_dirs/t"), ["train.py"])
        assert not commands and not capsys.readouterr().err


class TestChains:
    def test_all_of_it_is_looked_at_before_anything_is_trained(self, commands):
        write("teacher.py", epochs=2)
        pretrained = dict(config="teacher.py", checkpoint="work_dirs/t/epoch_9.pth")
        write("heads.py", model=dict(pretrained=pretrained))
        config = student("work_dirs/h/epoch_6.pth", "heads.py")
        with pytest.raises(FileNotFoundError, match=r"^pretrained .* leaves epoch_1.pth, epoch_2"):
            train_missing(config, ["train.py"])
        assert not commands

    def test_a_config_that_is_missing_is_told_before(self, commands):
        write("teacher.py")
        peers = [dict(config="lost.py", checkpoint="work_dirs/lost/epoch_1.pth")]
        with pytest.raises(FileNotFoundError, match=r"lost\.py"):
            train_missing(student("work_dirs/t/epoch_6.pth", peers=peers), ["train.py"])
        assert not commands

    @pytest.mark.parametrize("folder", ["work_dirs/t", "work_dirs/../work_dirs/t/"])
    def test_two_configs_do_not_share_a_folder(self, commands, folder):
        write("teacher.py")
        write("peer.py")
        peers = [dict(config="peer.py", checkpoint=f"{folder}/epoch_5.pth")]
        with pytest.raises(ValueError, match="peers.0 .peer.py. would be .* that of teacher.py"):
            train_missing(student("work_dirs/t/epoch_6.pth", peers=peers), ["train.py"])
        assert not commands

    def test_nor_does_a_teacher_with_its_student(self, commands):
        write("teacher.py")
        with pytest.raises(ValueError, match="is that of this run"):
            train_missing(student("work_dirs/s/epoch_6.pth"), ["train.py"])
        assert not commands
