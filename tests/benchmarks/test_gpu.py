import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import gpu
from benchmarks.recall.case import SIZES, Size
from kd_core import Distiller, Term
from kd_core.losses import ASCKDLoss, AttentionTransferLoss

CPU = torch.device("cpu")
TINY = gpu.GpuSettings("cpu", ("tiny",), rounds=2, batches=(2,))


class Case:
    """A step of a tiny student with two terms of one map."""

    def __init__(self):
        torch.manual_seed(0)
        self.student = nn.Sequential(nn.Conv2d(3, 4, 3))
        terms = {"at": Term(AttentionTransferLoss(), "0"), "asckd": Term(ASCKDLoss(), "0")}
        self.distiller = Distiller(nn.Sequential(nn.Conv2d(3, 4, 3)), terms)
        self.distiller.attach(self.student)

    def actions(self):
        return {"student": list, "teacher": list, "distilled": self.distilled}

    def distilled(self):
        self.student(torch.randn(2, 3, 8, 8))
        self.values = self.distiller.losses()


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", Size(300, 16, 60, (1, 10), 0.7))
    monkeypatch.setattr(gpu, "_case", lambda *_: Case())


def test_every_result_is_a_line_and_an_error_stops_nothing(tiny, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu, "recall", fail)
    out = tmp_path / "gpu.jsonl"
    out.write_text('{"what": "earlier"}\n')
    gpu.measure_all(SimpleNamespace(), TINY, str(out))
    found = {one["what"]: one.get("result") for one in map(json.loads, out.open())}
    assert list(found)[:3] == ["earlier", "recall tiny", "step float32"]
    assert found["recall tiny"] == {"error": "RuntimeError: out of memory"}
    assert set(found["step bfloat16"]["ratio"]) == {"distilled", "before"}
    assert found["gradients float32"]["asckd"] == {"value": 0.0, "gradient": 0.0}
    assert 0 < found["gradients bfloat16"]["at"]["gradient"] < 0.01
    assert found["memory batch 2"]["distilled"] > 0


def test_recall_with_and_without_the_kernel_is_the_same(tiny):
    found = gpu.recall("tiny", 1, CPU)
    assert found["same"] and set(found["seconds"]) == {"kernel", "without"}


def test_as_before_gives_the_same_losses_and_is_undone():
    case, found = Case(), []
    for _ in range(2):
        torch.manual_seed(1)
        case.distilled()
        found.append(case.values)
        torch.manual_seed(1)
        with gpu.as_before(case.distiller):
            assert case.distiller.finite.late is False
            case.distilled()
        assert case.distiller.finite.late is None
        torch.testing.assert_close(case.values, found[-1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_stops_at_once(tmp_path):
    with pytest.raises(ValueError, match="it is cuda and torch finds 0 GPUs. Take --device cpu"):
        gpu.measure_all(SimpleNamespace(), gpu.GpuSettings(), str(tmp_path / "gpu.jsonl"))
    assert not list(tmp_path.iterdir())
