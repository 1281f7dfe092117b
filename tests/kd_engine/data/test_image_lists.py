"""Lists of datasets: blanks, line ends, headings, and lines that are named."""

import numpy as np
import pytest

from kd_engine.data.image_lists import first_repeat, is_integer, read_lines, read_rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do(tmp_path, write_lines, end):
    write_lines(tmp_path / "a.txt", "1 a b.jpg", "", "2  ü.jpg ", end=end)
    rows = read_rows(tmp_path / "a.txt", "id path")
    assert rows.columns == [["1", "2"], ["a b.jpg", "ü.jpg"]]
    assert rows.lines == [1, 3]
    np.testing.assert_array_equal(rows.integers(0), np.array([1, 2], dtype=np.int64))


def test_a_mark_of_utf8_at_the_beginning_is_no_part_of_it(tmp_path, write_lines):
    write_lines(tmp_path / "a.txt", "1 a", encoding="utf-8-sig")
    assert read_rows(tmp_path / "a.txt", "id path").columns == [["1"], ["a"]]


def test_other_separators_of_unicode_do_not_end_a_line(tmp_path, write_lines):
    write_lines(tmp_path / "a.txt", "1 a\x0cb\u2028c.jpg")
    assert read_rows(tmp_path / "a.txt", "id path").columns[1] == ["a\x0cb\u2028c.jpg"]


def test_the_path_may_come_first_and_have_blanks(tmp_path, write_lines):
    write_lines(tmp_path / "a.txt", "my img/a b.jpg   id_1   train")
    rows = read_rows(tmp_path / "a.txt", "path item status", path_first=True)
    assert rows.columns == [["my img/a b.jpg"], ["id_1"], ["train"]]


def test_a_heading_is_checked(tmp_path, write_lines):
    write_lines(tmp_path / "a.txt", "id path", "1 a")
    assert read_rows(tmp_path / "a.txt", "id path", ("id ",)).columns == [["1"], ["a"]]
    write_lines(tmp_path / "b.txt", "1 a", "2 b")
    with pytest.raises(ValueError, match=r"b\.txt, line 1, must begin with 'id ', but is '1 a'"):
        read_rows(tmp_path / "b.txt", "id path", ("id ",))


def test_a_short_line_is_named(tmp_path, write_lines):
    write_lines(tmp_path / "a.txt", "1 a", "", "2")
    with pytest.raises(ValueError, match=r"a\.txt, line 3, must be 'id path', but is '2'"):
        read_rows(tmp_path / "a.txt", "id path")


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "²", "1" * 19])
def test_what_is_no_number_is_named(tmp_path, write_lines, text):
    assert not is_integer(text)
    write_lines(tmp_path / "a.txt", "1 a", f"{text} b")
    with pytest.raises(ValueError, match=r"a\.txt, line 2, must have a whole number"):
        read_rows(tmp_path / "a.txt", "id path").integers(0)


def test_an_empty_list_has_no_rows(tmp_path, write_lines):
    write_lines(tmp_path / "a.txt")
    assert read_rows(tmp_path / "a.txt", "id path").columns == [[], []]


def test_a_missing_list_and_another_encoding_are_named(tmp_path, write_lines):
    with pytest.raises(FileNotFoundError, match=r"a\.txt is missing.*kdkit fetch --help. says"):
        list(read_lines(tmp_path / "a.txt"))
    write_lines(tmp_path / "a.txt", "1 ü", encoding="latin-1")
    with pytest.raises(ValueError, match=r"a\.txt must be UTF-8"):
        read_rows(tmp_path / "a.txt", "id path")


def test_first_repeat():
    assert first_repeat("abc") is None
    assert first_repeat("abcb") == (1, 3)
