import dataclasses

import pytest
import torch

from benchmarks.recall.case import SIZES, RecallCase, Size, synthetic

TINY_SET = Size(600, 16, 60, (1, 4, 100), 0.8)


def test_results_that_differ_stop_the_benchmark():
    case = RecallCase(TINY_SET, torch.device("cpu"))
    for action in case.actions().values():
        action()
    case.check_agreement()
    found = dict(case.found)
    case.found["pytorch-metric-learning"] -= 0.01
    with pytest.raises(ValueError, match="R@1 must agree"):
        case.check_agreement()
    case.found = found | {"kdkit without bfloat16": dataclasses.replace(
        found["kdkit"], optimistic={1: 1.0})}  # fmt: skip
    with pytest.raises(ValueError, match="results must agree"):
        case.check_agreement()
    case.found = found
    found["kdkit"].found_at[77] += 1
    with pytest.raises(ValueError, match="FAISS and kdkit must agree, but do not at query 77"):
        case.check_agreement()


def test_synthetic_embeddings_have_the_shape_of_their_set():
    rows, labels = synthetic(TINY_SET)
    assert rows.shape == (600, 16) and labels.shape == (600,)
    assert torch.allclose(rows.norm(dim=1), torch.ones(600))
    assert labels.unique(return_counts=True)[1].min() >= 2 and len(labels.unique()) == 60
    assert torch.equal(rows, synthetic(TINY_SET)[0])
    for name, size in SIZES.items():
        assert 2 * size.classes < size.rows, name
