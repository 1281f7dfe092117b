import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import gpu, gradients
from benchmarks.gradients import distances
from kd_core import Distiller, Term
from kd_core.losses import ASCKDLoss, AttentionTransferLoss

CPU = torch.device("cpu")
TINY = gpu.tiny(gpu.GpuSettings("cpu"))
TRAINED = {"images_per_second": 1.0, "loader_share": 0.5, "peak_mb": 3}


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

    def term_actions(self):
        return {"at": list, "asckd": list}

    def distilled(self):
        self.student(torch.randn(2, 3, 8, 8))
        self.values = self.distiller.losses()


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(gpu, "_case", lambda *_: Case())


def test_every_result_is_a_line_and_an_error_stops_nothing(tiny, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu, "recall", fail)
    monkeypatch.setattr(gpu, "train", lambda *_, **options: {**TRAINED, **options})
    out = tmp_path / "gpu.jsonl"
    out.write_text('{"what": "earlier"}\n')
    gpu.measure_all(SimpleNamespace(), TINY, str(out))
    found = {one["what"]: one.get("result") for one in map(json.loads, out.open())}
    three = [f"{what} {name}" for what in ("step", "gradients") for name in gpu.PRECISIONS]
    last = ["training", "memory batch 2", "torchrun", "profile"]
    assert list(found) == ["earlier", "recall tiny", *three, *last]
    assert found["recall tiny"] == {"error": "RuntimeError: out of memory"}
    assert set(found["step bfloat16"]["ratio"]) == {"distilled", "before"}
    assert set(found["step bfloat16"]["terms_seconds"]) == {"at", "asckd"}
    assert found["memory batch 2"]["distilled"] > 0
    assert found["training"] == TRAINED and found["torchrun"] == {**TRAINED, "distributed": True}
    times = [one["ms"] for one in found["profile"]]
    assert times == sorted(times, reverse=True) and times[0] > 0
    assert any("conv" in one["operator"] for one in found["profile"])


@pytest.mark.parametrize(
    "dtype, above, below", [(torch.float32, -1, 1e-6), (torch.float16, 0, 2e-3)]
)
def test_gradients_in_half_precision_are_those_of_the_rounded_maps(dtype, above, below):
    for name, one in distances(CPU, dtype).items():
        assert one["value"] == 0 and above < one["gradient"] < below, name


def test_a_wrong_value_and_gradient_are_seen(monkeypatch):
    class Off(nn.Module):
        def forward(self, student, teacher):
            factor = 1 + (student.dtype == torch.float16)
            return factor * (student.float() - teacher.float()).square().mean()

    monkeypatch.setattr(gradients, "_MAPS", {"off": Off})
    monkeypatch.setattr(gradients, "_ROWS", {})
    (found,) = distances(CPU, torch.float16).values()
    assert found == pytest.approx({"value": 1, "gradient": 1}, rel=1e-3)


def test_recall_with_and_without_the_kernel_is_the_same(tiny):
    found = gpu.recall("tiny", 1, CPU)
    assert found["same"] and set(found["seconds"]) == {"kernel", "without", "products"}


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
    with pytest.raises(ValueError, match=r"it is 'cuda' and torch finds 0 GPU\(s\). Take --device"):
        gpu.measure_all(SimpleNamespace(), gpu.GpuSettings(), str(tmp_path / "gpu.jsonl"))
    assert not list(tmp_path.iterdir())
