"""The programs of two pages run where no OpenMMLab package can be imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..blocked import BLOCK

ROOT = Path(__file__).parents[2]


def programs(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


PROGRAMS = programs("plain_pytorch.md")


def run(program, folder):
    """Run a program in an interpreter that refuses OpenMMLab's packages."""
    (folder / "sitecustomize.py").write_text(BLOCK)
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("name", ["mmengine", "mmcv", "mmdet"])
def test_the_block_holds(name, tmp_path):
    assert f"{name} is blocked" in run(f"import {name}", tmp_path).stderr


def test_the_first_program_distils_in_a_short_loop(tmp_path):
    result = run("import torch\ntorch.manual_seed(0)\n" + PROGRAMS[0], tmp_path)
    assert result.returncode == 0, result.stderr
    shares = [float(found) for found in re.findall(r"^([\d.]+)%", result.stdout, re.MULTILINE)]
    assert len(shares) == 2 and min(shares) > 50  # a guess would be right in 10 %
    (loop,) = re.findall(r"^def train.*?(?=\n\n)", PROGRAMS[0], re.MULTILINE | re.DOTALL)
    assert "distiller.losses()" in loop and len(loop.splitlines()) <= 15


def test_the_other_programs_run(tmp_path):
    assert len(PROGRAMS) == 10
    result = run("\n".join(PROGRAMS[1:]), tmp_path)
    assert result.returncode == 0, result.stderr
    assert float(re.findall(r"^sum of DKD and CRD: (.*)$", result.stdout, re.MULTILINE)[0]) > 0
    assert "['loss_at', 'loss_kd', 'loss_rkd']" in result.stdout
    assert "high" in result.stdout and "layer4" in result.stdout
    steered = re.findall(r"^weight of at: (.*)$", result.stdout, re.MULTILINE)
    assert len(steered) == 3 and all(float(weight) > 0 for weight in steered)
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    assert ["loss_at" in line for line in lines] == [False, True, True]
    assert ["gradient_share_sp" in line for line in lines] == [True, False, True]


def test_the_selectors_of_the_page(tmp_path):
    (program,) = programs("selectors.md")
    result = run(program, tmp_path)
    assert result.returncode == 0, result.stderr
    *table, loss = result.stdout.splitlines()
    assert len(table) == 3 and all("output[mid]" in line for line in table[1:])
    assert float(loss) > 0
