"""Stanford Online Products, as a small replica in its native layout."""

import pytest

from kd_retrieval.datasets import SOP, sop

HEADING = "image_id class_id super_class_id path"


@pytest.fixture
def root(tmp_path, draw, write_lines):
    """6 products of 2 images in each list, the first of one alone; ids go on."""
    number, product = 0, 0
    for name in ("Ebay_train.txt", "Ebay_test.txt"):
        lines = []
        for place in range(6):
            product += 1
            for view in range(1 if place == 0 else 2):
                number += 1
                path = f"sofa_final/{product}00 ä_{view}.JPG"
                lines.append(f"{number} {product} 8 {path}")
                draw(tmp_path / path)
        write_lines(tmp_path / name, HEADING, *lines, end="\r\n")
    return tmp_path


def test_the_two_lists(root, check_splits):
    data = check_splits(lambda split: SOP(str(root), split, check_counts=False))
    assert data["trainval"].class_names == tuple(f"product {i}" for i in range(1, 7))
    assert data["val"].class_names == ("product 5", "product 6")
    assert data["test"].class_names == tuple(f"product {i}" for i in range(7, 13))
    assert data["test"].ids.tolist() == list(range(12, 23))
    assert data["test"].labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert data["test"].paths[0] == "sofa_final/700 ä_0.JPG"


def test_the_published_counts(root, monkeypatch):
    assert sop.COUNTS == {"trainval": (59551, 11318), "test": (60502, 11316)}
    with pytest.raises(ValueError, match="59,551 images of 11,318 .* 11 of 6"):
        SOP(str(root))
    monkeypatch.setattr(sop, "COUNTS", {"trainval": (11, 6), "test": (11, 6)})
    assert len(SOP(str(root), "val")) == 4


def test_a_missing_list_is_named(root):
    (root / "Ebay_test.txt").unlink()
    assert len(SOP(str(root), "train", check_counts=False)) == 7
    with pytest.raises(FileNotFoundError, match=r"Ebay_test\.txt is missing"):
        SOP(str(root), "test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("12 6 8", r"line 13, must be 'image class super-class path', but is '12 6 8'"),
        ("12 six 8 a.JPG", "line 13, must have a whole number, but has 'six'"),
        ("x 6 8 a.JPG", "line 13, must have a whole number, but has 'x'"),
        ("11 6 8 a.JPG", r"gives id 11 to sofa_final/.* and to a\.JPG"),
        ("12 6 8 sofa_final/600 ä_0.JPG", r"lists sofa_final/600 ä_0\.JPG twice"),
    ],
)
def test_a_broken_line_is_named(root, line, message):
    with (root / "Ebay_train.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=message):
        SOP(str(root), check_counts=False)


def test_a_list_without_its_heading_loses_no_image(root, write_lines):
    write_lines(root / "Ebay_train.txt", "1 1 1 a.JPG", "2 1 1 b.JPG")
    with pytest.raises(ValueError, match=r"line 1, must begin with 'image_id '"):
        SOP(str(root), check_counts=False)
