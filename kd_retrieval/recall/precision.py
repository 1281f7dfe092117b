"""Precision and speed of matrix products on this machine: float32 and bfloat16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

_may_use_bfloat16 = True


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 products are much faster than float32 ones."""
    return _may_use_bfloat16 and _multiplies_bfloat16(device)


@contextlib.contextmanager
def without_bfloat16() -> Iterator[None]:
    """Act as on a machine without fast bfloat16 products, to measure how long it takes there."""
    global _may_use_bfloat16
    before, _may_use_bfloat16 = _may_use_bfloat16, False
    try:
        yield
    finally:
        _may_use_bfloat16 = before


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 products in float32, and sum bfloat16 ones in float32.

    This holds even where autocast or one of torch's two settings allows less.
    """
    backends: Any = torch.backends
    cuda = backends.cuda.matmul
    wanted: list[tuple[Any, str, Any]] = [(cuda, "allow_bf16_reduced_precision_reduction", False)]
    if hasattr(cuda, "fp32_precision"):  # from torch 2.9
        wanted += [(one, "fp32_precision", "ieee") for one in (cuda, backends.mkldnn.matmul)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if not hasattr(cuda, "fp32_precision"):
            before = torch.get_float32_matmul_precision()
            stack.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("highest")
        for owner, name, value in wanted:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


@lru_cache
def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in known or "amx_bf16" in known
