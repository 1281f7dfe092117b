"""Latency: which rounds count, and what a device is called."""

import pytest
import torch

from kd_engine.cost import latency
from kd_engine.cost.latency import Latency, describe_device, devices_of, latencies

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a run advances it."""
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])

    def run_of(name, seconds, calls):
        times = iter(seconds)

        def run():
            assert not torch.is_grad_enabled()
            calls.append(name)
            now[0] += next(times)

        return run

    return run_of


def test_median_and_quartiles_of_the_rounds_after_the_warm_up(clock):
    calls = []
    runs = {
        "slow": clock("slow", [100, 100, 1, 2, 3, 4, 5], calls),
        "fast": clock("fast", [50, 50, 1, 1, 1, 1, 6], calls),
    }
    found = latencies(runs, CPU, rounds=5, warm_up=2)
    assert found == {"slow": Latency(3, 2, 4, 5), "fast": Latency(1, 1, 1, 5)}
    assert calls == ["slow", "fast"] * 7  # in turns


def test_one_round(clock):
    found = latencies({"one": clock("one", [7], [])}, CPU, rounds=1, warm_up=0)
    assert found == {"one": Latency(7, 7, 7, 1)}


def test_a_gpu_is_waited_for_before_and_after(monkeypatch):
    order = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append("wait"))
    latencies({"one": lambda: order.append("run")}, torch.device("cuda"), rounds=1, warm_up=0)
    assert order == ["wait", "run", "wait"]


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices_of(()) == [CPU] == devices_of(("cpu", "cpu"))
    with pytest.raises(ValueError, match=r"it is 'cuda' and torch finds 0 GPU"):
        devices_of(("cuda",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices_of(()) == [CPU, torch.device("cuda")]
    with pytest.raises(
        ValueError, match=r"it is 'cuda:1' and torch finds 1 GPU\(s\). Take --device cpu"
    ):
        devices_of(("cuda:1",))


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:x", ""])
def test_a_wrong_device_is_named(name):
    with pytest.raises(ValueError, match=f"must be cpu, cuda or cuda:N, but it is '{name}'"):
        devices_of((name,))


def test_a_cpu_is_named_with_its_threads():
    threads = torch.get_num_threads()
    text = describe_device(CPU)
    assert f"{threads} thread(s)" in text and f"torch {torch.__version__}" in text
    assert len(text.split(",")[0]) > 2
