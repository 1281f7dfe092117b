"""Methods of several networks in a plain loop, without mmengine."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kd_core.layers import LayerPath
from kd_core.methods import (
    BYOT,
    CAMKD,
    CCSKD,
    CKDMKT,
    CTKD,
    DML,
    MSKDSSR,
    ONE,
    PSKD,
    Adversarial,
    CCSKDSchedule,
    HeadedClassifier,
    ReflectionWeights,
    SelfTeacher,
    TeacherFeatures,
    TeacherHeads,
    TransferWeights,
)
from kd_core.methods.adapter import TaskAdapter
from kd_core.methods.heads import heads_for
from kd_core.relations.samples import similarity_scores
from kd_core.teacher import FrozenTeacher

LOOP = """
import copy, sys, torch
from torch import nn
from kd_core import FrozenTeacher
from kd_core.methods.adapter import TaskAdapter
from kd_core.methods import CKDMKT, DML

def network(width):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, width), nn.ReLU(), nn.Linear(width, 5))

def copies(*networks):
    return [FrozenTeacher(copy.deepcopy(one)) for one in networks]

for kind in (DML, CKDMKT):
    torch.manual_seed(0)
    student, peer = network(8), network(16)
    task = TaskAdapter(feature="2")  # logits are what a network returns
    frozen = [] if kind is DML else [copies(student, peer)]
    kind([peer], *frozen, adapter=task).attach(student)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)  # the peer is a child of the student
    images, labels = torch.randn(20, 3, 4, 4), torch.arange(20) % 5
    for step in range(30):
        student(images)
        losses = student.distiller.losses(labels=labels)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        first = losses if step == 0 else first
    for name in ("loss_ce", "loss_peer1_ce"):
        assert losses[name] < 0.7 * first[name], (kind, name, first[name], losses[name])
    print(kind.__name__, sorted(losses))
assert not [name for name in sys.modules if name.startswith(("mmengine", "mmcv", "mmdet"))]
"""


def test_two_small_networks_learn_without_mmengine():
    done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ours = [f"loss{who}_{what}" for who in ("", "_peer1") for what in ("ce", "peers")]
    more = [f"loss{who}_{what}" for who in ("", "_peer1") for what in ("relation", "self")]
    assert done.stdout == f"DML {sorted(ours)}\nCKDMKT {sorted(ours + more)}\n"


class Net(nn.Module):
    """A network of two stages."""

    def __init__(self, width=4):
        super().__init__()
        self.low = nn.Conv2d(3, width, 3, padding=1)
        self.high = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 2 * width, 3, stride=2, padding=1))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(2 * width, 5)

    def forward(self, images):
        return self.classifier(self.pool(self.high(self.low(images))))


TASK = TaskAdapter("classifier", "pool")
STAGES = ["low", "high"]


def headed(network):
    paths = [LayerPath.parse(text) for text in STAGES]
    heads = heads_for([torch.zeros(2, 6, 8, 8), torch.zeros(2, 12, 4, 4)], 5)
    return FrozenTeacher(HeadedClassifier(network, paths, heads, LayerPath.parse("classifier")))


def branch():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def make(kind):
    """A method with the networks that it needs besides the student."""
    both = dict(student=STAGES, teacher=STAGES)
    return dict(
        Adversarial=lambda: Adversarial(FrozenTeacher(Net(6)), layers=("pool", "pool"),
                                        adapter=TASK),
        BYOT=lambda: BYOT(layers=STAGES, adapter=TASK),
        CAMKD=lambda: CAMKD(dict(a=FrozenTeacher(Net(6)), b=FrozenTeacher(Net())), "confidence",
                            (1.0, 1.0, 4.0), TeacherFeatures("high"), TASK),
        CCSKD=lambda: CCSKD(FrozenTeacher(Net(6)), CCSKDSchedule(1, start=1), layers=both,
                            adapter=TASK),
        CKDMKT=lambda: CKDMKT([Net(6)], [FrozenTeacher(Net()), FrozenTeacher(Net(6))],
                              TransferWeights(alpha=0.5), adapter=TASK),
        CTKD=lambda: CTKD(Net(6), FrozenTeacher(Net(6)), layers=dict(both, scratch=STAGES),
                          adapter=TASK),
        DML=lambda: DML({"a friend": Net(6)}),
        MSKDSSR=lambda: MSKDSSR(headed(Net(6)), ReflectionWeights(c=[0.3, 0.5]), STAGES, TASK),
        ONE=lambda: ONE([branch(), branch()], "high", ramp=2.0, adapter=TASK),
        PSKD=lambda: PSKD(6, adapter=TASK),
        SelfTeacher=lambda: SelfTeacher(Net(), 0.5, adapter=TASK),
        TeacherHeads=lambda: TeacherHeads(STAGES, TASK),
    )[kind]()  # fmt: skip


OWN = dict(CKDMKT=0.5, CCSKD=0.0, MSKDSSR=0.5, PSKD=0.8)  # factor of the student's cross-entropy


KINDS = ["Adversarial", "BYOT", "CAMKD", "CCSKD", "CKDMKT", "CTKD", "DML", "MSKDSSR", "ONE"]
KINDS += ["PSKD", "SelfTeacher", "TeacherHeads"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_are_all_of_them_with_the_students_own(kind):
    torch.manual_seed(0)
    student = Net()
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 5
    make(kind).attach(student, example=[images])
    student.distiller.set_run_length(2, 8)
    entropy = F.cross_entropy(student(images), labels)
    found = student.distiller.losses(labels=labels, ids=torch.arange(6))
    torch.testing.assert_close(found["loss_ce"], OWN.get(kind, 1.0) * entropy)
    assert len(found) > 1
    total = sum(value for name, value in found.items() if "loss" in name)
    total.backward()
    if kind == "Adversarial":  # the discriminator learns in one step, the student in the next
        student(images)
        sum(student.distiller.losses(labels=labels).values()).backward()
    trained = student.distiller if kind == "TeacherHeads" else student
    assert all(p.grad is not None for p in trained.parameters() if p.requires_grad)


class Run:
    """A student with a method and an optimizer; always the same."""

    def __init__(self, kind):
        torch.manual_seed(0)
        self.model = make(kind).attach(Net(), example=[torch.randn(6, 3, 8, 8)])
        self.model.distiller.set_run_length(2, 8)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def train(self, *steps):
        for step in steps:
            images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            self.model.train()(images)
            found = self.model.distiller.losses(labels=torch.arange(6) % 5, ids=torch.arange(6))
            self.optimizer.zero_grad()
            sum(value for name, value in found.items() if "loss" in name).backward()
            self.optimizer.step()
        return copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_resumed_equals_the_unbroken_one(kind):
    whole = Run(kind)
    half, (weights, _) = whole.train(1, 2), whole.train(3, 4)
    rest = Run(kind)
    with torch.no_grad():
        for parameter in rest.model.parameters():
            parameter.add_(1)  # what is trained must be in the checkpoint
    rest.model.load_state_dict(half[0])
    rest.optimizer.load_state_dict(half[1])
    found, _ = rest.train(3, 4)
    assert rest.model.distiller.current_iteration() == 4
    assert all(torch.equal(value, found[key]) for key, value in weights.items())
    assert any(not torch.equal(value, half[0][key]) for key, value in weights.items())


@pytest.mark.parametrize(
    "kind", ["BYOT", "CAMKD", "CCSKD", "MSKDSSR", "ONE", "PSKD", "TeacherHeads"]
)
def test_what_makes_layers_by_shapes_needs_an_example(kind):
    with pytest.raises(ValueError, match=rf"{kind} makes layers .* attach\(student, example="):
        make(kind).attach(Net())


def test_labels_are_needed():
    student = Net()
    make("DML").attach(student)
    student(torch.randn(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"DML needs the labels .* losses\(labels=labels\)"):
        student.distiller.losses()


def test_stages_of_a_plain_network_must_be_named():
    with pytest.raises(ValueError, match="Net does not name its stages"):
        BYOT(adapter=TASK).attach(Net(), example=[torch.zeros(2, 3, 8, 8)])


def test_no_peers_are_refused():
    with pytest.raises(ValueError, match="at least one peer"):
        DML([])


class Embedding(TaskAdapter):
    """Custom networks that embed: the losses compare similarities."""

    loss = "loss_metric"

    def scores(self, output):
        return similarity_scores(output)

    def own_loss(self, network, output, labels):
        return F.triplet_margin_loss(output[:2], output[2:4], output[4:6])


def test_an_adapter_of_ones_own():
    student = Net()
    DML([Net(6)], adapter=Embedding("pool")).attach(student)  # 8 and 12 numbers
    student(torch.randn(6, 3, 8, 8))
    found = student.distiller.losses(labels=torch.arange(6))
    assert set(found) == {"loss_metric", "loss_peers", "loss_peer1_metric", "loss_peer1_peers"}
