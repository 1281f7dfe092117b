"""kdkit chain: the links of each way, which trainings it starts, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from kd_engine.chain.plan import plan_chain
from kd_engine.chain.run import run_chain
from kd_engine.config.load import load_run_config
from kd_engine.run import child
from kdkit.cli.command import PROGRAM


def planned(name, **options):
    return plan_chain(load_run_config(f"kdkit::cls/{name}+digits", options), Path("chain"))


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_assistants_stand_between_teacher_and_student():
    first, second, direct = planned("takd")
    named = [(one.name, one.teachers) for one in (first, second, direct)]
    assert named == [
        ("resnet14", ("teacher",)),
        ("student", ("resnet14",)),
        ("direct", ("teacher",)),
    ]
    assert first.parameters > second.parameters == direct.parameters
    assert first.config.model.student.network.name == "resnet14"
    assert second.config.model.teacher == dict(config=str(first.file), checkpoint=str(first.folder))
    assert "chain" not in second.config and second.folder != direct.folder
    assert second.config.model.terms == direct.config.model.terms
    read = Config.fromfile(second.file)
    assert read.model == second.config.model  # what is trained is what is written


def test_dense_links_learn_from_all_before_them():
    first, second, _ = planned("dgkd")
    assert first.config.model.teacher and second.teachers == ("teacher", "resnet14")
    model = second.config.model
    assert list(model.teachers) == ["teacher", "resnet14"] and "teacher" not in model
    terms = model.terms
    assert {name: (term.teacher, term.weight) for name, term in terms.items()} == {
        "kd_teacher": ("teacher", 0.5),
        "kd_resnet14": ("resnet14", 0.5),
    }
    (turn,) = terms.kd_resnet14.schedule
    assert turn == dict(type="kd_core.schedules.Dropped", number=1, of=2, drop=0.5)


def test_generations_have_seeds_of_their_own():
    links = planned("born_again")
    assert [one.teachers for one in links] == [("teacher",), ("generation1",)]
    assert [one.config.randomness.seed for one in links] == [0, 1]
    assert len({one.parameters for one in links}) == 1


def test_a_route_goes_over_the_teachers_checkpoints_and_each_stage_starts_from_the_one_before():
    links = planned("rco")
    assert [one.teachers[0] for one in links] == ["epoch_2", "epoch_4", "epoch_6", "teacher"]
    files = [Path(one.config.model.teacher.checkpoint).name for one in links]
    assert files == ["epoch_2.pth", "epoch_4.pth", "epoch_6.pth", "epoch_6.pth"]
    starts = [one.config.get("load_from") for one in links]
    assert starts[0] is starts[3] is None
    assert starts[1:3] == [str(one.folder / "epoch_6.pth") for one in links[:2]]


def with_chain(name, change):
    config = load_run_config(f"kdkit::cls/{name}+digits", {})
    change(config)
    return plan_chain(config, Path("chain"))


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("kd", lambda c: None, r"chain=dict\(way=...\).* but it has chain=\{\}"),
        ("takd", lambda c: c.chain.update(drop=0.5), "whose keys are, by way, assistants:"),
        ("takd", lambda c: c.chain.assistants[0].model.network.update(name="resnet32"),
         "goes from large to small, but resnet14 has 4.* and teacher, its teacher, 27"),
        ("takd", lambda c: c.model.student.network.update(name="resnet20"),
         "but student has 27.* and resnet14, its teacher, 17"),
        ("takd", lambda c: c.chain.assistants[0].update(name="student"), "whose names are words"),
        ("takd", lambda c: c.chain.update(assistants=[]), "assistants must be a list"),
        ("dgkd", lambda c: c.model.terms.kd.update(weight="auto"),
         "share a weight that is a number, but that of term 'kd' is 'auto'"),
        ("born_again", lambda c: c.model.student.network.update(name="resnet14"),
         "generations must be of equal size, but the teacher has 7"),
        ("born_again", lambda c: c.chain.update(generations=0), "generations must be 1 or more"),
        ("rco", lambda c: c.chain.update(checkpoints=["epoch_4.pth", "epoch_2.pth"]),
         "from early to late"),
        ("rco", lambda c: c.chain.update(checkpoints=["epoch_6.pth"]),
         "must come before the teacher's own, epoch_6.pth"),
    ],
)  # fmt: skip
def test_a_chain_out_of_order_is_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        with_chain(name, change)
    assert not list(Path("chain").rglob("epoch_*"))


class Trainings:
    """Stand-in for the trainings: a checkpoint and a score for each link."""

    def __init__(self):
        self.calls, self.failing = [], ()

    def __call__(self, arguments):
        assert tuple(arguments[: len(PROGRAM) + 1]) == (*PROGRAM, "train")
        config, resume, _, folder, *options = arguments[len(PROGRAM) + 1 :]
        assert resume == "--resume" and options == ["--with-teacher"]
        name = Path(folder).name.split("_")[1].split("-")[0]
        self.calls.append(name)
        if name in self.failing:
            return 3
        assert Path(config).is_file()
        logs = Path(folder, "20260101_000000/vis_data")
        logs.mkdir(parents=True)
        lines = [{"loss": 1.0, "iter": 2, "time": 5.0, "step": 2},
                 {"cls/top1": 70.0 + len(self.calls), "step": 6}]  # fmt: skip
        (logs / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
        hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
        whole = dict(meta=dict(epoch=6, iter=10), state_dict={}, message_hub=hub, optimizer={})
        torch.save(whole, Path(folder, "epoch_6.pth"))
        Path(folder, "last_checkpoint").write_text(str(Path(folder, "epoch_6.pth").resolve()))
        return 0


def test_the_same_call_carries_on_where_it_stopped(monkeypatch):
    trainings = Trainings()
    monkeypatch.setattr(child, "run_child", trainings)
    config = load_run_config("kdkit::cls/takd+digits", {})
    trainings.failing = ("student",)
    with pytest.raises(SystemExit) as stopped:
        run_chain(config, Path("chain"), PROGRAM, with_teacher=True)
    assert stopped.value.code == 3 and trainings.calls == ["resnet14", "student"]
    trainings.failing = ()
    text = run_chain(config, Path("chain"), PROGRAM, with_teacher=True)
    assert trainings.calls == ["resnet14", "student", "student", "direct"]
    assert Path("chain/seed0/chain.md").read_text() == f"{text}\n"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert rows[0] == ["link", "learns from", "parameters", "cls/top1", "training, s"]
    assert rows[2][:2] == ["resnet14", "teacher"] and rows[2][3:] == ["71", "10"]
    assert [row[0] for row in rows[2:]] == ["resnet14", "student", "direct"]
    run_chain(config, Path("chain"), PROGRAM, with_teacher=True)
    assert len(trainings.calls) == 4


def test_another_seed_has_folders_of_its_own():
    config = load_run_config("kdkit::cls/takd+digits", {})
    first, second = (plan_chain(config, Path("chain"), seed) for seed in (0, 3))
    assert [one.config.randomness.seed for one in second] == [3, 3, 3]
    assert {one.folder.parent.name for one in second} == {"seed3"}
    assert not {one.folder for one in first} & {one.folder for one in second}
