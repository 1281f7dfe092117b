"""Fixtures that the tests of the losses share."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

REFERENCE = Path(__file__).parent / "reference"
ROOT = Path(__file__).parents[3]

# Bytes of resident memory that statements need beyond what is held before them, at their peak.
MEASURE = """
import torch
torch.set_num_threads(1)

def resident(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024

{before}
start = resident("VmRSS")
{measured}
print(resident("VmHWM") - start)
"""


@pytest.fixture
def agrees_with_reference():
    """Compare a loss with the value and gradient recorded from its authors' code."""

    def compare(name, loss, gradient_only=False):
        with np.load(REFERENCE / f"{name}.npz") as recorded:
            student = torch.tensor(recorded["student"], dtype=torch.float32, requires_grad=True)
            teacher = torch.tensor(recorded["teacher"], dtype=torch.float32)
            expected = torch.tensor(recorded["grad_student"], dtype=torch.float32)
            value = float(recorded["value"])
            beside = [torch.tensor(recorded[key]) for key in ("labels",) if key in recorded]
        result = loss(student, teacher, *beside)
        result.backward()
        assert gradient_only or result.item() == pytest.approx(value, rel=1e-4)
        limit = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(student.grad, expected, rtol=1e-4, atol=limit)

    return compare


@pytest.fixture
def recorded():
    """Read the tensors recorded from the code of a loss that takes more than two."""

    def read(name):
        with np.load(REFERENCE / f"{name}.npz") as arrays:
            tensors = {key: torch.tensor(arrays[key]) for key in arrays}
        return {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}

    return read


@pytest.fixture
def agrees_with_layers(recorded):
    """Compare losses that have layers with value and gradients recorded from their authors' code.

    ``layers`` maps the path of a layer of theirs to the same layer of ours, ``run`` gets the
    recorded tensors and returns the value; gradients of inputs and of all parameters count.
    """

    def compare(name, layers, run, inputs=("student",), ignored=()):
        data = recorded(name)
        ours = {}
        for path, layer in layers.items():
            for own, parameter in layer.named_parameters():
                with torch.no_grad():
                    parameter.copy_(data[f"param.{path}.{own}"].reshape(parameter.shape))
                ours[f"param.{path}.{own}"] = parameter
        assert {k for k in data if k.startswith("param.")} - set(ignored) == set(ours)
        ours |= {name: data[name].requires_grad_() for name in inputs}
        value = run(data)
        value.backward()
        assert value.item() == pytest.approx(data["value"].item(), rel=1e-4)
        for key, leaf in ours.items():
            expected = data[f"grad_{key}"].reshape(leaf.shape)
            limit = 1e-4 * expected.abs().max().item()
            torch.testing.assert_close(leaf.grad, expected, rtol=1e-4, atol=limit)

    return compare


@pytest.fixture
def peak_bytes():
    """Run statements in a fresh process and return the memory that the measured ones added."""

    def measure(before, measured):
        if not sys.platform.startswith("linux"):
            pytest.skip("the peak is read from /proc, which only Linux has")
        script = MEASURE.format(before=before, measured=measured)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    return measure
