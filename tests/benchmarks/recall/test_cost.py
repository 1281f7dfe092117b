import numpy as np
import pytest
import torch

from benchmarks.recall.cost import resident_peak_bytes


def test_resident_memory_counts_all_that_a_process_takes():
    taken = resident_peak_bytes(lambda: [np.ones(10_000_000), torch.ones(2_500_000)])
    if taken is None:
        pytest.skip("takes Linux")
    assert 90e6 - 1e6 < taken < 90e6 + 10e6
    assert resident_peak_bytes(lambda: None) < 10e6
