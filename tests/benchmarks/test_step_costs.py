import pytest
import torch
from torch import nn

from benchmarks.step_costs import (
    auto_weight_cost,
    cost_lines,
    step_costs,
    term_actions,
    with_auto_weights,
    without_weights,
)
from kd_core import AutoWeight, Distiller, Term

CPU = torch.device("cpu")


def test_no_file_of_weights_is_read_wherever_it_is_named(tmp_path):
    config = tmp_path / "expert.py"
    config.write_text(
        "model = dict(type='Plain', network=dict(type='kd_cls.TimmNetwork', name='x', "
        "pretrained=True), backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='y.pth')))",
        encoding="utf-8",
    )
    model = dict(
        type="Method",
        student=dict(trunk=dict(type="kd_retrieval.TimmTrunk", checkpoint="z.pth", name="x")),
        peers=[dict(config=str(config), checkpoint="a.pth", allow_partial=True)],
        gradient_shares=dict(layer="stage1"),
        terms=dict(kd=dict(layers="logits", schedule=dict(type="LinearWarmup"))),
        schedule=dict(start=2),
    )
    found = without_weights(model)
    assert found == dict(
        type="Method",
        student=dict(trunk=dict(type="kd_retrieval.TimmTrunk", name="x")),
        peers=[
            dict(
                config=dict(
                    type="Plain",
                    network=dict(type="kd_cls.TimmNetwork", name="x"),
                    backbone=dict(init_cfg=None),
                ),
                checkpoint=None,
                allow_partial=True,
            )
        ],
        gradient_shares=None,
        terms=dict(kd=dict(layers="logits")),
        schedule=dict(start=2),
    )
    assert model["terms"]["kd"]["schedule"] and model["peers"][0]["checkpoint"] == "a.pth"


class Needy(nn.Module):
    """Notes what it gets."""

    requires = ("labels",)

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, student, teacher, labels):
        self.seen.append((student.requires_grad, student.is_leaf, labels.tolist()))
        return (student - teacher).square().mean()


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs, labels=None, mode="tensor"):
        return self.layer(inputs)


def test_a_term_alone_gets_captured_features_and_what_it_needs():
    loss, student = Needy(), Network()
    distiller = Distiller(Network(), {"x": Term(loss, "layer")})
    distiller.attach(student)
    data = dict(inputs=torch.randn(4, 3), labels=torch.tensor([1, 0, 1, 1]))
    actions = term_actions(student, distiller, data)
    assert list(actions) == ["x"] and list(distiller.terms) == ["x"]
    actions["x"]()
    actions["x"]()
    assert loss.seen == [(True, True, [1, 0, 1, 1])] * 2
    assert student.layer.weight.grad is None


class Toy:
    """Steps that take memory instead of time."""

    distiller = None

    def __init__(self, same=True):
        self.same, self.ran = same, []

    def actions(self):
        return {name: (lambda name=name: self.run(name)) for name in
                ("student", "a", "b", "distilled", "peer")}  # fmt: skip

    def run(self, name):
        self.ran.append(name)
        torch.zeros(1000 * len(name), 250)  # 1 MB for each letter

    def parts(self):
        return ["student", "a", "b"]

    def check_same_work(self):
        if not self.same:
            raise ValueError("another work")

    def term_actions(self):
        return {}


def test_ratios_are_over_all_parts_together_and_peers_are_compared_both_ways():
    toy = Toy()
    report = step_costs(toy, 3, CPU)
    assert len(toy.ran) == 5 * (2 + 3 + 1)
    for clock in ("wall", "cpu"):
        times = {name: found[clock] for name, found in report["seconds"].items()}
        rounds = list(zip(*(times[name] for name in toy.actions()), strict=True))
        assert report["ratios"][clock] == [d / (s + a + b) for s, a, b, d, _ in rounds]
        peer = sorted(p / (s + a + b) for s, a, b, _, p in rounds)
        assert report["peer_ratio"]["peer"][clock]["median"] == peer[1]
        both = sorted(d / p for *_, d, p in rounds)
        assert report["ratio_to_peer"]["peer"][clock]["median"] == both[1]
    assert report["peak_bytes"]["distilled"] == 9_000_000
    text = "\n".join(cost_lines(report, {"student": "the student"}))
    for words in ("the student ", "distilled / (student + a + b)", "peer / (student + a + b)",
                  "distilled / peer", "wanted: at most 1.05"):  # fmt: skip
        assert words in text


def test_other_work_stops_it():
    with pytest.raises(ValueError, match="another work"):
        step_costs(Toy(same=False), 1, CPU)


class Steps(Toy):
    """A step of a student with an automatic weight, whose measurements are counted."""

    def __init__(self):
        super().__init__()
        self.student = Network()
        term = Term(nn.MSELoss(), "layer", weight=AutoWeight())
        self.distiller = Distiller(Network(), {"a": term, "b": term})
        self.distiller.attach(self.student)
        self.seen = []

    def run(self, name):
        count = int(self.distiller.auto_weights["a"].measured)
        task = self.student(torch.ones(2, 3)).sum()
        self.distiller.losses(task_loss=task)
        self.seen.append(int(self.distiller.auto_weights["a"].measured) - count)


def test_steps_that_measure_automatic_weights_are_compared_with_those_between():
    steps = Steps()
    found = auto_weight_cost(steps, 4, CPU)
    assert steps.seen[:8] == [1] * 8 and sorted(steps.seen[8:]) == [0] * 4 + [1] * 4
    assert found["gap"] == 100  # of two terms
    times = found["seconds"]
    extra = [m / b - 1 for m, b in zip(times["measuring"]["wall"], times["between"]["wall"],
                                       strict=True)]  # fmt: skip
    assert found["share"]["wall"]["max"] == pytest.approx(max(extra) / 100)
    report = step_costs(Toy(), 1, CPU)
    assert report["auto_weights"] is None
    text = "\n".join(cost_lines(report | {"auto_weights": found}))
    assert "one in 100" in text and "wanted: at most 2%" in text
    assert "automatic weights" not in "\n".join(cost_lines(report))


def test_all_terms_can_get_automatic_weights():
    model = dict(type="x", terms=dict(a=dict(layers="y", weight=2.0, share=0.1), b=dict()))
    assert with_auto_weights(model)["terms"] == dict(
        a=dict(layers="y", weight="auto"), b=dict(weight="auto")
    )
    assert model["terms"]["a"]["weight"] == 2.0
    assert with_auto_weights(dict(type="x")) == dict(type="x")
