import contextlib

import pytest
import torch

from kd_retrieval.recall.precision import full_precision, has_fast_bfloat16, without_bfloat16

CPU = torch.device("cpu")


@contextlib.contextmanager
def less_precision(how):
    """Allow products of less precision in one of the ways that a caller may have used."""
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        if how == "medium":
            torch.set_float32_matmul_precision("medium")
        elif how == "tf32":
            torch.backends.cuda.matmul.allow_tf32 = True
        elif how == "by backend":
            for backend, value in zip(backends, ("tf32", "bf16"), strict=True):
                backend.fp32_precision = value
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


@pytest.mark.parametrize("how", ["nothing", "medium", "tf32", "by backend"])
def test_products_are_precise_whatever_is_allowed_and_settings_are_put_back(how):
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    with less_precision(how):
        before = [backend.fp32_precision for backend in backends]
        assert ("none" not in before) == (how in ("medium", "by backend"))
        with full_precision(CPU):
            assert [backend.fp32_precision for backend in backends] == ["ieee", "ieee"]
            assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
        assert [backend.fp32_precision for backend in backends] == before
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    assert torch.get_float32_matmul_precision() == "highest"


def test_autocast_of_the_caller_is_not_in_force():
    rows = torch.ones(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (rows @ rows).dtype == torch.bfloat16
        with full_precision(CPU):
            assert (rows @ rows).dtype == torch.float32
        assert (rows @ rows).dtype == torch.bfloat16


def test_settings_are_put_back_after_an_error():
    with pytest.raises(KeyError), full_precision(CPU):
        raise KeyError
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"


def test_bfloat16_can_be_left_out():
    before = has_fast_bfloat16(CPU)
    with without_bfloat16():
        assert not has_fast_bfloat16(CPU)
    assert has_fast_bfloat16(CPU) == before
    assert not has_fast_bfloat16(torch.device("meta"))
