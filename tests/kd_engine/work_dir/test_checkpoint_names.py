import pytest

from kd_engine.work_dir.checkpoint_names import number_in
from kd_engine.work_dir.checkpoint_plan import CheckpointPlan


@pytest.mark.parametrize(
    ("name", "template", "number"),
    [
        ("epoch_12.pth", "epoch_{}.pth", 12),
        ("epoch_012.pth", "epoch_{}.pth", None),
        ("e012.pth", "e{:03d}.pth", 12),
        ("e12.pth", "e{:03d}.pth", None),
        ("e1234.pth", "e{:03d}.pth", 1234),
        ("3_of_3.pth", "{0}_of_{0}.pth", 3),
        ("3_of_4.pth", "{0}_of_{0}.pth", None),
        ("a+b_7", "a+b_{}", 7),
        ("aab_7", "a+b_{}", None),
        ("latest.pth", "latest.pth", 0),
        ("{}_1", "{{}}_{}", 1),
    ],
)
def test_the_number_is_the_one_that_makes_the_name(name, template, number):
    assert number_in(name, template) == number
    assert CheckpointPlan(template, None).number_of(name) == number


@pytest.mark.parametrize("template", ["a{", "{epoch}.pth", "{}_{}", "{:q}"])
def test_a_template_that_makes_no_name_is_named(template):
    with pytest.raises(ValueError, match="filename_tmpl of CheckpointHook must be a name with"):
        number_in("a", template)
