"""Methods that detectors do not have are refused by name, in the config that asks for one."""

import pytest

from kd_core import methods
from kd_det.unserved import NAMES


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("PSKD", "Take kd_det.DistilledDetector"),
        ("CAMKD", "several teachers and a weighting, teacher="),
    ],
)
def test_a_config_that_asks_for_one_is_told_what_to_take(tiny, name, remedy):
    config = dict(type=f"kd_det.{name}", student=tiny.faster_rcnn(), momentum=0.9)
    with pytest.raises(ValueError, match=f"{name} needs one vector of scores.*{remedy}"):
        tiny.build(config)


def test_each_method_of_several_networks_is_named():
    built = {name for name in methods.__all__ if hasattr(getattr(methods, name), "from_config")}
    assert built - {"HeadedClassifier", "SelfTeacher", "TeacherHeads"} == set(NAMES)
