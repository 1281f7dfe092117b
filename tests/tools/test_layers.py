"""kdkit layers."""

import re


def lines_of(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_names_types_and_shapes(place, run_tool):
    code, text, error = run_tool("layers", place.distilled, "--size", "64", "96")
    assert code == 0, error
    lines = lines_of(text)
    assert lines["neck[0]"] == ["FPN", "2x16x16x24"]
    assert lines["neck[4]"] == ["2x16x1x2"]
    assert "neck[5]" not in lines and "neck" not in lines
    assert lines["backbone.layer3"] == ["ResLayer", "2x32x4x6"]
    assert "distiller" not in text


def test_every_listed_selector_can_be_selected(place, run_tool):
    from kd_core.layers import FeatureHooks, LayerPath, levels_of
    from kd_det.probe import dry_run
    from kd_engine.config.file import read_config
    from kd_engine.evaluate import build_model

    _, text, _ = run_tool("layers", place.base, "--depth", "2", "--size", "64", "64")
    config = read_config(str(place.base))
    model = build_model(config, config.model)
    shape = re.compile(r"\d+(x\d+)*,?")
    listed = {
        name: [cell.rstrip(",") for cell in cells if shape.fullmatch(cell)]
        for name, cells in lines_of(text).items()
        if shape.fullmatch(cells[-1]) and "roi_head" not in name
    }
    assert len(listed) > 10 and any(len(shapes) == 5 for shapes in listed.values())
    selectors = [LayerPath.parse(name) for name in listed]
    hooks = FeatureHooks(model, selectors, "student")
    hooks.active = True
    dry_run(model, (64, 64))
    for selector, shapes in zip(selectors, listed.values(), strict=True):
        picked = levels_of(hooks.read([selector]))
        assert ["x".join(map(str, one.shape)) for one in picked] == shapes


def test_layers_that_cannot_be_selected_are_marked(place, run_tool):
    _, text, _ = run_tool("layers", place.distilled, "--size", "64", "64")
    lines = lines_of(text)
    assert lines["rpn_head.rpn_conv"][1:] == [
        f"2x16x{side}x{side}" + "," * (side > 1) for side in (16, 8, 4, 2, 1)
    ]  # a list, for it runs for each level
    assert " ".join(lines["rpn_head.loss_cls"][1:]) == "(does not run)"
    assert " ".join(lines["backbone.bn1"][1:]).startswith("(changed in place")  # by backbone.relu


def test_teacher_depth_and_match(place, run_tool):
    _, text, _ = run_tool(
        "layers", place.distilled, "--teacher", "--depth", "1", "--match", "NECK",
        "--size", "64", "64",
    )  # fmt: skip
    assert set(lines_of(text)) == {"selector", *(f"neck[{i}]" for i in range(5))}
    assert "2x24x16x16" in text


def test_nothing_matches(place, run_tool):
    code, _, error = run_tool("layers", place.distilled, "--match", "transformer")
    assert code == 1 and "'transformer'" in error
