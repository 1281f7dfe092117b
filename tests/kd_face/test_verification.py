"""Verification: TAR, EER and rank-1 by hand, their intervals, and the metric of a run."""

import numpy as np
import pytest

from kd_face.calibration import chosen_rows, tar_interval
from kd_face.verification import verify

from .test_calibration import gallery


def test_values_by_hand():
    # Angles of 2 people; similarities are cosines: genuine cos 10, cos 40; impostors in between.
    angles = np.radians([0.0, 10.0, 30.0, 70.0])
    rows = 3.0 * np.stack([np.cos(angles), np.sin(angles)], 1)  # of any length
    found = verify(rows, np.array([0, 0, 1, 1]), fars=(0.25, 0.0))
    # Impostor angles 30, 70, 20, 60 degrees; one may pass: 20. Genuine 10 passes, 40 does not.
    assert found["TAR@FAR=0.25"] == found["TAR@FAR=0"] == 50
    # At 30 degrees: FAR 2/4, FRR 1/2.
    assert found["EER"] == 50
    # 0 finds 10, 10 finds 0, 30 finds 10 (wrong), 70 finds 30.
    assert found["rank-1"] == 75
    assert (found["genuine_pairs"], found["impostor_pairs"]) == (2, 4)


def test_the_order_is_that_of_the_columns_of_a_comparison():
    names = list(verify(*gallery(6, 3, 0.9)))
    assert names[:4] == ["TAR@FAR=0.01", "TAR@FAR=0.001", "EER", "rank-1"]


def test_the_interval_of_the_tar():
    rows, people = gallery(15, 4, 0.9)
    found = verify(rows, people)
    low, high = found["TAR@FAR=0.01_low"], found["TAR@FAR=0.01_high"]
    assert low < found["TAR@FAR=0.01"] < high and high - low > 1
    assert tar_interval(rows, people, 0.01) == pytest.approx((low / 100, high / 100))
    more_low, more_high = tar_interval(*gallery(60, 4, 0.9), 0.01)
    assert more_high - more_low < (high - low) / 100
    clean = verify(*gallery(8, 3, 0.01))
    assert clean["TAR@FAR=0.001_low"] == clean["TAR@FAR=0.001_high"] == 100


def test_of_many_pictures_some_are_drawn():
    assert chosen_rows(3000) == list(range(3000))
    some = chosen_rows(3001)
    assert len(set(some)) == 3000 and some == sorted(some) == chosen_rows(3001)


def test_the_metric_of_a_run():
    torch = pytest.importorskip("torch")
    pytest.importorskip("mmengine")
    from kd_face.metric import FaceVerification

    rows, people = gallery(6, 3, 0.9)
    metric = FaceVerification(fars=0.01)
    samples = [
        dict(embedding=torch.from_numpy(row), label=int(label), id=number, role=0)
        for number, (row, label) in enumerate(zip(rows, people, strict=True))
    ]
    metric.process(None, samples[::-1])
    metric.process(None, samples[:2])  # the copies of a distributed sampler
    found = metric.evaluate(len(samples))
    assert found == {f"face/{name}": value for name, value in verify(rows, people, (0.01,)).items()}
    with pytest.raises(ValueError, match="from 0 to below 1"):
        FaceVerification(fars=(0.1, 1.0))
