"""The cost of each kind of term, with tiny sizes."""

import json

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.det.case import DetectorCase
from benchmarks.det.terms import KINDS, TermSettings, measure_terms
from kd_engine.config.load import load_run_config


def test_the_table_has_a_line_for_each_kind(tmp_path, capsys):
    out = tmp_path / "terms.json"
    sizes = ["--size", "64", "64", "--batch", "1", "--rounds", "1"]
    main(["terms", "--kinds", "roi", "pkd-scores", *sizes, "--out", str(out)])
    printed = capsys.readouterr().out
    assert "\nroi " in printed and "\npkd-scores " in printed
    reports = json.loads(out.read_text(encoding="utf-8"))["kinds"]
    assert [one["kind"] for one in reports] == ["roi", "pkd-scores"]
    for one in reports:
        (student,), (teacher,), (distilled,) = (
            one["seconds"][name]["wall"] for name in ("student", "teacher", "distilled")
        )
        median = one["ratio"]["distilled"]["wall"]["median"]
        assert median == pytest.approx(distilled / (student + teacher))


def test_the_teachers_forward_is_what_the_terms_need():
    """Of terms on its ROI head it has that head, on the student's boxes, and no RPN."""
    case = DetectorCase(load_run_config(KINDS["roi"].config), (64, 64), 1, torch.device("cpu"))
    ran = []
    for name in ("rpn_head", "roi_head.bbox_head"):
        head = case.teacher.get_submodule(name)
        head.register_forward_hook(lambda *_, name=name: ran.append(name))
    case.run_teacher()
    assert ran == ["roi_head.bbox_head"]
    terms = case.term_actions()
    assert set(terms) == {"classes", "boxes", "regions"}
    for action in terms.values():
        action()


def test_every_kind_has_a_config():
    assert all(load_run_config(kind.config).model.terms for kind in KINDS.values())


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kinds must be some of imitation, .* not rois"):
        next(measure_terms(TermSettings(kinds=["rois"])))
