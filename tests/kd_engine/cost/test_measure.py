"""Costs of small models: counted as an export stores them, and in a readable table."""

import json

import pytest
import safetensors.torch
import torch
from mmengine.config import Config

from kd_cls.task import TASK as CLASSIFICATION
from kd_engine.cost import measure as module
from kd_engine.cost.measure import RANDOM, candidates_of, measure
from kd_engine.cost.table import as_json, compression_lines, cost_lines
from kd_engine.evaluate import student_checkpoint, write_student
from kd_retrieval.task import TASK as RETRIEVAL

CPU = [torch.device("cpu")]
# of the CIFAR ResNets: 6 n + 2 layers of 16, 32 and 64 channels at 32, 16 and 8 pixels
STEM, HEAD = 32 * 32 * 27 * 16, 64 * 10
SHORTCUTS = 16 * 16 * 16 * 32 + 8 * 8 * 32 * 64
STAGE = 32 * 32 * 9 * 16 * 16  # one convolution: the same in each stage
HALF = STAGE // 2  # the first one of a later stage: from half the channels


def network(name):
    part = dict(type="kd_cls.CifarNetwork", name=name, num_classes=10)
    return dict(type="kd_cls.Classifier", network=part)


def config_of(model):
    return Config(dict(default_scope="mmengine", model=model))


def classification(**teacher):
    return config_of(
        dict(
            type="kd_cls.DistilledClassifier",
            student=network("resnet8"),
            teacher=dict(config=network("resnet20"), checkpoint=None) | teacher,
            terms={},
        )
    )


@pytest.fixture(scope="module")
def pair():
    return measure(candidates_of(classification()), CLASSIFICATION, CPU, (32, 32), rounds=2)


def test_a_pair_of_classifiers(pair):
    teacher, student = pair.models["teacher"], pair.models["student"]
    assert list(pair.models) == ["teacher", "student"]
    assert (teacher.parameters, student.parameters) == (272474, 78042)
    wanted = STEM + HEAD + 3 * 2 * STAGE - 2 * HALF
    shortcuts = student.macs - wanted
    assert shortcuts in (0, SHORTCUTS)  # of kind A or B
    assert teacher.macs - wanted - shortcuts == 3 * 2 * 2 * STAGE
    latency = next(iter(student.latency.values()))
    assert 0 < latency.low <= latency.median <= latency.high and latency.rounds == 2
    assert pair.image == "a random image, 32 x 32" and not pair.notes
    assert teacher.weights == student.weights == RANDOM


def test_stored_bytes_are_those_of_an_export(pair, tmp_path):
    candidate = candidates_of(classification())["student"]
    content = student_checkpoint({"state_dict": candidate.build().state_dict()}, candidate.config)
    write_student(content, str(tmp_path / "student.safetensors"))
    file = (tmp_path / "student.safetensors").read_bytes()
    names = 8 + int.from_bytes(file[:8], "little")
    assert pair.models["student"].stored_bytes == len(file) - names
    assert len(safetensors.torch.load(file)) > 20


def test_an_embedder_is_measured_without_its_training_loss():
    loss = dict(type="ProxyAnchorLoss", num_classes=50, embedding_size=8)
    embedder = dict(
        type="kd_retrieval.Embedder",
        trunk=dict(type="kd_retrieval.TorchvisionTrunk", name="resnet18"),
        dim=8,
        criterion=dict(loss=loss),
    )
    found = measure(candidates_of(config_of(embedder)), RETRIEVAL, CPU, (32, 32), rounds=1)
    assert list(found.models) == ["model"]
    assert found.models["model"].parameters == 11176512 + 512 * 8 + 8  # resnet18 without its head


def test_a_teacher_has_the_weights_that_are_here(tmp_path):
    built = candidates_of(classification())["teacher"].build()
    with torch.no_grad():
        next(built.parameters()).fill_(0.5)
    torch.save(built.state_dict(), tmp_path / "teacher.pth")
    here = candidates_of(classification(checkpoint=str(tmp_path / "teacher.pth")))
    assert next(here["teacher"].build().parameters()).eq(0.5).all()
    for elsewhere in (tmp_path / "none.pth", "https://nowhere.invalid/teacher.pth"):
        assert candidates_of(classification(checkpoint=str(elsewhere)))["teacher"].source is None


def test_the_students_weights(tmp_path):
    built = candidates_of(classification())["student"].build()
    content = {**built.state_dict(), "distiller.extra": torch.ones(1)}
    torch.save(content, tmp_path / "run.pth")
    found = candidates_of(classification(), str(tmp_path / "run.pth"))
    assert found["student"].source.checkpoint == str(tmp_path / "run.pth")
    found["student"].build()  # the distiller's part is left out


def test_what_is_no_network_is_named(monkeypatch):
    candidates = candidates_of(classification())
    built = {"teacher": torch.nn.Identity(), "student": candidates["student"].build()}
    kinds = iter(built.values())
    monkeypatch.setattr(module.Candidate, "build", lambda self: next(kinds))
    found = measure(candidates, CLASSIFICATION, CPU, (32, 32), rounds=1)
    assert list(found.models) == ["student"]
    assert found.notes == ["teacher: Identity has no parameters and is not measured."]


def test_the_table(pair):
    lines = cost_lines(pair)
    assert lines[0].split() == ["model", "parameters", "stored", "MACs", "latency"]
    assert lines[1].split()[:6] == ["teacher", "272,474", "1.05", "MiB", "40.813", "M"]
    text = "\n".join(lines)
    for part in ("FLOP / 2", "median (quartiles) of 2 rounds", "after 5", "a random image, 32 x 32",
                 "student has random weights"):  # fmt: skip
        assert part in text
    (line,) = compression_lines(pair, "teacher", "student")
    assert line.startswith("teacher / student: stored 3.48, MACs 3.26, latency ")
    assert "rho target 10" in line


def test_json(pair):
    read = json.loads(json.dumps(as_json(pair)))
    assert read["models"]["student"]["macs"] == pair.models["student"].macs
    assert set(next(iter(read["models"]["student"]["latency"].values()))) == {
        "median", "low", "high", "rounds"
    }  # fmt: skip
