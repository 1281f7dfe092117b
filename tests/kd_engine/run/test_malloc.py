import platform
import subprocess
import sys

import pytest

from kd_engine.run.malloc import keep_freed_memory

FAULTS = """
import resource
import torch
from kd_engine.run.malloc import keep_freed_memory

def step():
    return [torch.ones(2**20) for _ in range(16)]  # 64 MB, all freed at once

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

step()
plain = faults()
kept = keep_freed_memory()
for _ in range(3):
    step()  # blocks find their places
print(plain, kept, faults())
"""
on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")


@on_glibc
def test_memory_of_the_last_step_is_used_again():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    plain, kept, after = done.stdout.split()
    assert kept == "True" and int(plain) > 10_000  # of 16,384 pages of 4 kB
    assert int(after) < int(plain) / 10


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_stays(name):
    assert not keep_freed_memory({name: "1"})


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory({})
