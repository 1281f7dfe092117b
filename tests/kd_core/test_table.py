import pytest

from kd_core.table import format_table, markdown_table


def test_columns_are_as_wide_as_their_widest_cell_and_lines_end_without_spaces():
    rows = [("backbone.layer1", "x"), ("neck", "")]
    assert format_table(("layer", "shape"), rows) == [
        "layer            shape",
        "backbone.layer1  x",
        "neck",
    ]


def test_numbers_can_stand_right():
    assert format_table((), [("a", "1.5"), ("b", "10.25")], "<>") == ["a    1.5", "b  10.25"]


def test_a_table_of_nothing_has_no_lines():
    assert format_table((), []) == []
    assert format_table(("name",), []) == ["name"]


def test_a_short_row_ends_with_empty_cells():
    assert format_table(("a", "b", "c"), [("1",)]) == ["a  b  c", "1"]


def test_markdown_has_a_rule_that_says_the_side():
    assert markdown_table(("run", "seeds", "mAP"), [("hmat", "3", "37.125")], "<<>") == [
        "| run  | seeds |    mAP |",
        "| ---- | ----- | -----: |",
        "| hmat | 3     | 37.125 |",
    ]


@pytest.mark.parametrize(
    ("header", "row", "align"),
    [(("a", "b"), ("1", "2"), "<"), (("a",), ("1", "2"), None), (("a",), ("1",), "c")],
)
def test_cells_and_sides_must_fit_the_header(header, row, align):
    with pytest.raises(ValueError, match="'<' or '>' for each of them"):
        format_table(header, [row], align)
