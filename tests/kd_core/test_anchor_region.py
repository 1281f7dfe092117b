from pathlib import Path

import numpy as np
import pytest
import torch

import kd_core.anchor_region as module
from kd_core.anchor_region import localization_region

RECORDED = Path(__file__).parent / "losses" / "reference" / "ld_region.npz"


@pytest.fixture
def ld():
    """github.com/HikariTJU/LD at 4287990c, mmdet/core/bbox/assigners/atss_assigner.py."""
    with np.load(RECORDED) as arrays:
        known = {name: torch.tensor(arrays[name]) for name in arrays}
    return known["anchors"].split(known["anchors_per_level"].tolist()), known


def test_all_anchors_agree_with_ld_by_its_own_overlap(ld):
    anchors, known = ld
    (found,) = torch.cat(localization_region(anchors, [known["boxes"]], "anchor"), dim=1)
    assert len(found) == 100
    torch.testing.assert_close(found, known["value"], rtol=1e-5, atol=1e-6)


def test_the_formula_leaves_8_of_them_out(ld):
    anchors, known = ld
    (found,) = torch.cat(localization_region(anchors, [known["boxes"]]), dim=1)
    differ = (found - known["value"]).abs() > 1e-5
    assert differ.nonzero().flatten().tolist() == [20, 30, 40, 50, 59, 68, 72, 76]
    assert (found <= known["value"]).all()


def test_boxes_a_few_at_a_time_give_the_same(ld, monkeypatch):
    anchors, known = ld
    more = [known["boxes"], known["boxes"][:1], torch.zeros(0, 4)]
    together = localization_region(anchors, more)
    monkeypatch.setattr(module, "_CELLS", 1)
    for one, other in zip(together, localization_region(anchors, more), strict=True):
        assert torch.equal(one, other)
    assert together[0][0].sum() > 0 and together[0][2].sum() == 0


def test_an_unknown_overlap_is_refused(ld):
    with pytest.raises(ValueError, match="overlap"):
        localization_region(ld[0], [ld[1]["boxes"]], "iou")
