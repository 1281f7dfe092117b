"""Start of a resumed run: its checkpoint, refusals, messages and validations."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from kd_core.checkpoint.load import CheckpointError, read_checkpoint
from kd_engine.doctor.summary import last_metrics
from kd_engine.resume.start import read_start
from kd_engine.run.runner import Runner
from kd_engine.weights.checkpoint import ALLOWED, use_safe_checkpoints

RUN = runpy.run_path(str(Path(__file__).parents[1] / "resume_run.py"))
config_of, BATCHES = RUN["config_of"], RUN["BATCHES"]
SCHEDULERS = config_of("x").param_scheduler


class Steps(Hook):
    """Numbers of the iterations that a run trains, and of the epochs that it validates."""

    def __init__(self):
        self.trained, self.validated = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.trained.append(runner.iter)

    def before_val(self, runner):
        self.validated.append(runner.epoch)


@pytest.fixture(autouse=True)
def safe():
    use_safe_checkpoints()


def train(config, resume=None):
    """Train; None if the run is finished."""
    start = read_start(config, resume)
    if start.is_done:
        return None
    runner, steps = Runner.from_cfg(config), Steps()
    start.register_hooks(runner)
    runner.register_hook(steps)
    runner.train()
    return steps


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    use_safe_checkpoints()
    place = tmp_path_factory.mktemp("trained") / "run"
    train(config_of(place, epochs=3))
    return place


@pytest.fixture
def run(trained, tmp_path):
    """A finished run of three epochs, to be spoiled."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def change(path, **content):
    checkpoint = dict(read_checkpoint(path, ALLOWED, mmap=False))
    for key, value in content.items():
        if value is None:
            del checkpoint[key]
        else:
            checkpoint[key] = value
    torch.save(checkpoint, path)


def set_meta(path, **content):
    meta = read_checkpoint(path, ALLOWED, mmap=False)["meta"]
    change(path, meta={**meta, **content})


class TestConfig:
    def test_the_same_config_says_nothing(self, run, warnings):
        read_start(config_of(run, epochs=3), str(run / "epoch_2.pth"))
        assert warnings == []

    def test_what_changes_the_run_is_said_and_it_goes_on(self, run, warnings, capsys):
        config = config_of(
            run, epochs=4, train_dataloader__batch_size=3, optim_wrapper__optimizer__lr=0.5,
            log_level="WARNING",
        )  # fmt: skip
        steps = train(config, "auto")
        (text,) = [text for text in warnings if "config differs" in text]
        assert "train_dataloader.batch_size: 4 -> 3\n" in text
        assert "train_cfg.max_epochs: 3 -> 4" in text
        assert "optim_wrapper.optimizer.lr: 0.01 -> 0.5  (no effect" in text
        assert len(steps.trained) == 4 and steps.trained[0] == 3 * BATCHES
        assert "An epoch has 4 batches now and had 3" in capsys.readouterr().out
        # as said: 0.01 halved after epoch 2, and the schedule of then ended with epoch 3
        lr = read_checkpoint(run / "epoch_4.pth", ALLOWED)["optimizer"]["param_groups"][0]["lr"]
        assert lr == pytest.approx(0.005)

    @pytest.mark.parametrize(
        ("settings", "line"),
        [
            (dict(optim_wrapper__optimizer__type="Adam"), "optimizer.type: 'SGD' -> 'Adam'"),
            (dict(param_scheduler=SCHEDULERS[:1]), "types of param_scheduler: ['LinearLR', "),
            (
                dict(train_cfg__by_epoch=False),
                "kind of train_cfg: 'epochs' -> 'iterations'",
            ),
        ],
    )
    def test_what_cannot_resume_is_refused_at_once(self, run, settings, line):
        with pytest.raises(ValueError, match="cannot resume from .*then -> now") as error:
            read_start(config_of(run, **settings), "auto")
        assert line in str(error.value) and "load_from=" in str(error.value)

    def test_a_checkpoint_without_a_config_is_said(self, run, warnings):
        for text in (None, 3, "a = (", "x" * 6_000_000):
            set_meta(run / "epoch_3.pth", cfg=text)
            read_start(config_of(run, epochs=4), "auto")
            assert "holds no config that can be read" in warnings.pop()

    def test_a_config_in_the_checkpoint_does_not_run(self, run, tmp_path):
        text = f"import os\nos.mkdir({str(tmp_path / 'trace')!r})\n"
        set_meta(run / "epoch_3.pth", cfg=text, config=text)
        steps = train(config_of(run, epochs=4), "auto")
        assert len(steps.trained) == BATCHES and not (tmp_path / "trace").exists()

    def test_resume_in_the_config_counts_too(self, run):
        with pytest.raises(ValueError, match="'SGD' -> 'Adam'"):
            read_start(config_of(run, resume=True, optim_wrapper__optimizer__type="Adam"))
        named = dict(resume=True, load_from=str(run / "epoch_1.pth"))
        assert read_start(config_of(run, epochs=4, **named)).position.epoch == 1


class TestFit:
    def refuse(self, run, match, resume="auto", **settings):
        with pytest.raises(CheckpointError, match=match) as error:
            train(config_of(run, epochs=4, **settings), resume)
        assert not (run / "epoch_4.pth").exists()
        return str(error.value)

    def test_another_architecture(self, run):
        text = self.refuse(run, "weights are not those", model=dict(type="ResumedNet", width=6))
        assert "layers.0.weight" in text and "(5, 3)" in text and "(6, 3)" in text

    def test_a_plain_run_does_not_become_a_distilled_one(self, run):
        text = self.refuse(run, "without distillation", model=dict(type="ResumedNet", beside=2))
        assert "distiller.weight" in text

    def test_nor_the_reverse(self, tmp_path):
        train(config_of(tmp_path, epochs=1, model=dict(type="ResumedNet", beside=2)))
        self.refuse(tmp_path, "without distillation", model=dict(type="ResumedNet"))

    def test_other_parameter_groups(self, run):
        groups = dict(bias_lr_mult=2.0)
        self.refuse(run, r"optimizer has 1 group\(s\)", optim_wrapper__paramwise_cfg=groups)

    def test_another_optimizer_of_a_file_without_a_config(self, run):
        set_meta(run / "epoch_3.pth", cfg=None)
        with pytest.raises(CheckpointError, match="is not the Adam"):
            config = config_of(run, epochs=4)
            config.optim_wrapper = dict(optimizer=dict(type="Adam", lr=0.1))
            train(config, "auto")

    def test_classes_in_another_order(self, run):
        data = dict(type="AugmentedNumbers", classes=("b", "a"))
        self.refuse(run, "class 0 is 'a'.*is 'b'", train_dataloader__dataset=data)

    def test_renamed_classes_are_said(self, run, warnings, capsys):
        data = dict(type="AugmentedNumbers", classes=("a", "B"))
        train(config_of(run, epochs=4, log_level="WARNING", train_dataloader__dataset=data), "auto")
        said = " ".join(warnings) + capsys.readouterr().out
        assert "new ['B'], gone ['b']" in said


class TestStates:
    @pytest.mark.parametrize("state", ["optimizer", "param_schedulers"])
    def test_a_file_without_a_state_is_refused(self, run, state):
        change(run / "epoch_3.pth", **{state: None})
        with pytest.raises(CheckpointError, match=rf"epoch_3.pth: it holds no {state}"):
            read_start(config_of(run, epochs=4), "auto")

    def test_but_not_where_the_config_says_so(self, run, warnings):
        setting = dict(default_hooks__checkpoint__save_optimizer=False)
        change(run / "epoch_3.pth", optimizer=None)
        read_start(config_of(run, epochs=4, **setting), "auto")
        assert any("holds no optimizer (save_optimizer=False)" in text for text in warnings)

    def test_a_named_file_that_is_no_checkpoint(self, run, tmp_path):
        torch.save({"w": torch.zeros(1)}, tmp_path / "w.pth")
        set_meta(run / "epoch_2.pth", iter="six")
        for path, match in ((tmp_path / "w.pth", "it lacks"), (run / "epoch_2.pth", "'six'")):
            with pytest.raises(CheckpointError, match=f"cannot resume from .*{match}"):
                read_start(config_of(run), str(path))
        with pytest.raises(FileNotFoundError, match=r"none\.pth"):
            read_start(config_of(run), str(tmp_path / "none.pth"))

    def test_a_folder_stands_for_its_last_checkpoint(self, run, tmp_path):
        start = read_start(config_of(tmp_path / "other", epochs=4), str(run))
        assert start.position.path == str(run / "epoch_3.pth")
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match="empty holds no whole checkpoint"):
            read_start(config_of(run), str(tmp_path / "empty"))

    def test_nothing_to_resume_from_is_said(self, tmp_path, capsys):
        assert read_start(config_of(tmp_path / "new"), "auto").position is None
        assert "training starts from the beginning" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "hook", [dict(filename_tmpl="step{:03d}.pth"), dict(out_dir="elsewhere")]
    )
    def test_names_and_folders_of_the_hook(self, tmp_path, hook):
        if "out_dir" in hook:
            hook = dict(out_dir=str(tmp_path / "elsewhere"))
        settings = dict(default_hooks__checkpoint=dict(type="CheckpointHook", interval=1, **hook))
        train(config_of(tmp_path / "run", epochs=2, **settings))
        steps = train(config_of(tmp_path / "run", epochs=3, **settings), "auto")
        assert steps.trained == [6, 7, 8]
        assert len(list(tmp_path.rglob("*.pth"))) == 3  # nothing was removed


class TestWithinAnEpoch:
    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory):
        place = tmp_path_factory.mktemp("iterations") / "run"
        train(config_of(place, epochs=2, default_hooks__checkpoint__by_epoch=False))
        return place

    def test_it_goes_on_there(self, place, tmp_path):
        config = config_of(tmp_path, epochs=2, default_hooks__checkpoint__by_epoch=False)
        assert train(config, str(place / "iter_4.pth")).trained == [4, 5]

    def test_also_with_the_file_of_another_program(self, place, tmp_path):
        file = shutil.copy(place / "iter_4.pth", tmp_path / "iter_4.pth")
        meta = dict(read_checkpoint(file, ALLOWED, mmap=False)["meta"])
        del meta["kdkit"]
        change(file, meta=meta)
        assert train(config_of(tmp_path / "r", epochs=2), str(file)).trained == [4, 5]

    def test_another_number_of_batches_is_refused(self, place, tmp_path):
        config = config_of(tmp_path, epochs=2, train_dataloader__batch_size=2)
        with pytest.raises(ValueError, match="within epoch 2, but .* now \\(6, then 3\\)"):
            train(config, str(place / "iter_4.pth"))


class TestFinished:
    def test_it_says_so_and_trains_nothing(self, run, capsys):
        before = (run / "epoch_3.pth").read_bytes()
        assert train(config_of(run, epochs=3), "auto") is None
        said = capsys.readouterr().out
        assert "The run is finished: epoch 3 of 3" in said and "toy/mean" in said
        assert "train_cfg.max_epochs=N" in said
        assert (run / "epoch_3.pth").read_bytes() == before

    def test_without_validation_too(self, tmp_path, capsys):
        none = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
        train(config_of(tmp_path, epochs=1, **none))
        assert train(config_of(tmp_path, epochs=1, **none), "auto") is None
        assert "finished: epoch 1 of 1" in capsys.readouterr().out

    def test_killed_in_the_last_validation_it_is_validated(self, run, capsys):
        (log,) = run.glob("*/vis_data/scalars.json")
        lines = log.read_text().splitlines()
        assert "toy/mean" in lines[-1]
        log.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:9])  # cut within the line
        metrics, notes = last_metrics(run)
        assert metrics == {"toy/mean": pytest.approx(score(lines, 2))}
        assert f"{log}, line {len(lines)}, is cut off" in notes[0]
        assert "epoch 3 is saved but has no score; what is shown is of epoch 2" in notes[1]

        steps = train(config_of(run, epochs=3), "auto")
        assert (steps.trained, steps.validated) == ([], [3])
        metrics, notes = last_metrics(run)
        assert metrics == {"toy/mean": pytest.approx(score(lines, 3))}
        assert len(notes) == 1
        assert train(config_of(run, epochs=3), "auto") is None

    def test_a_validation_that_was_not_due_is_not_made(self, tmp_path):
        never = dict(train_cfg__val_begin=9)
        train(config_of(tmp_path, epochs=1, **never))
        assert train(config_of(tmp_path, epochs=1, **never), "auto") is None


class TestValidation:
    """Of a run that continues after it."""

    def test_a_missing_one_comes_first(self, run):
        (log,) = run.glob("*/vis_data/scalars.json")
        log.write_text("".join(line for line in log.open() if "toy/mean" not in line))
        assert train(config_of(run, epochs=4), "auto").validated == [3, 4]

    def test_one_that_was_made_is_not_repeated(self, run):
        assert train(config_of(run, epochs=4), "auto").validated == [4]

    def test_unless_training_depends_on_it(self, tmp_path):
        best = dict(default_hooks__checkpoint__save_best="toy/mean",
                    default_hooks__checkpoint__rule="greater")  # fmt: skip
        train(config_of(tmp_path, epochs=2, **best))
        assert train(config_of(tmp_path, epochs=3, **best), "auto").validated == [2, 3]

    def test_of_an_iteration_based_run(self, tmp_path):
        def config(last):
            made = config_of(tmp_path, param_scheduler=[],
                             default_hooks__checkpoint=dict(type="CheckpointHook", interval=2,
                                                            by_epoch=False))  # fmt: skip
            made.train_cfg = dict(by_epoch=False, max_iters=last, val_interval=2)
            return made

        train(config(4))
        assert train(config(4), "auto") is None
        assert train(config(6), "auto").trained == [4, 5]
        for log in tmp_path.glob("*/vis_data/scalars.json"):
            log.write_text("".join(line for line in log.open() if "toy/mean" not in line))
        steps = train(config(6), "auto")
        assert steps.trained == [] and len(steps.validated) == 1


def score(lines, epoch):
    rows = [json.loads(line) for line in lines]
    (found,) = [row["toy/mean"] for row in rows if "toy/mean" in row and row["step"] == epoch]
    return found
