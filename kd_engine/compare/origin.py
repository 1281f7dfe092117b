"""Origin of a measurement: versions, commit and machine, without names of hosts or users."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from kd_engine.environment import check_distributions, installed


@dataclass(frozen=True)
class Origin:
    """Origin of a measurement.

    Attributes:
        version: Package to version; kdkit with its commit where it is a checkout.
        machine: System, processors, threads and GPU.
    """

    version: dict[str, str]
    machine: dict[str, str]


def origin() -> Origin:
    """Return what this process runs with."""
    kdkit = installed("kdkit") or "0+unknown"
    commit = _commit()
    version = {"kdkit": f"{kdkit} ({commit})" if commit else kdkit, "torch": torch.__version__}
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "processors": str(os.cpu_count()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
    return Origin(version | check_distributions(), machine)


def _commit() -> str:
    """Return the commit of a checkout, with "dirty" if files differ; "" elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
