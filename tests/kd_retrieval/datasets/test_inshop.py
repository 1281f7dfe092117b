"""In-Shop, as a small replica in its native layout."""

import numpy as np
import pytest

from kd_retrieval.datasets import BOTH, GALLERY, QUERY, InShop, inshop


def lines():
    """6 items to train on, 3 to search: two queries and one of the gallery each."""
    found = []
    for item in range(1, 7):
        for view in range(1 if item == 1 else 2):
            found.append(
                f"img/WOMEN/Röcke kurz/id_{item:08}/0{view}_1_front.jpg id_{item:08} train"
            )
    for item in (11, 12, 13):
        for view, status in enumerate(("query", "query", "gallery")):
            path = f"img/MEN/Denim/id_{item:08}/0{view}_1_front.jpg"
            found.append(f"{path}   id_{item:08}   {status}")
    return found


@pytest.fixture(params=["unpacked in Img", "unpacked at the top"])
def root(request, tmp_path, draw, write_lines):
    inside = request.param == "unpacked in Img"
    for line in lines():
        draw(tmp_path / ("Img" if inside else "") / line.rsplit(maxsplit=2)[0])
    path = tmp_path / ("Eval" if inside else "") / "list_eval_partition.txt"
    write_lines(path, "20", "image_name item_id evaluation_status", *lines(), end="\r\n")
    return tmp_path


@pytest.fixture
def broken(tmp_path, write_lines):
    """Write a list with more lines."""

    def write(*more):
        heading = ("20", "image_name item_id evaluation_status")
        write_lines(tmp_path / "list_eval_partition.txt", *heading, *lines(), *more)
        return str(tmp_path)

    return write


def test_training_items_and_roles(root, check_splits):
    data = check_splits(lambda split: InShop(str(root), split, check_counts=False))
    assert data["trainval"].class_names == tuple(f"id_{i:08}" for i in range(1, 7))
    assert data["val"].class_names == ("id_00000005", "id_00000006")
    assert set(data["train"].roles.tolist()) == {BOTH}
    assert data["test"].roles.tolist() == [QUERY, QUERY, GALLERY] * 3
    assert data["test"][2]["roles"] == GALLERY
    assert data["test"].labels.tolist() == np.repeat([0, 1, 2], 3).tolist()


def test_the_published_counts(root, monkeypatch):
    assert inshop.COUNTS == {"trainval": (25882, 3997), "test": (26830, 3985)}
    assert inshop.ROLE_COUNTS == {QUERY: 14218, GALLERY: 12612}
    with pytest.raises(ValueError, match="25,882 images of 3,997 .* 11 of 6"):
        InShop(str(root))
    monkeypatch.setattr(inshop, "COUNTS", {"trainval": (11, 6), "test": (9, 3)})
    with pytest.raises(ValueError, match="14,218 queries and 12,612 gallery .* 6 and 3"):
        InShop(str(root), "test")
    monkeypatch.setattr(inshop, "ROLE_COUNTS", {QUERY: 6, GALLERY: 3})
    assert len(InShop(str(root), "test")) == 9


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("img/a.jpg id_9 val", "line 23, must say train, query or gallery, but says 'val'"),
        ("img/a.jpg id_9", "line 23, must be 'path item status'"),
        ("img/a.jpg id_00000011 train", "line 14, has id_00000011, which other lines train on"),
        ("img/MEN/Denim/id_00000011/00_1_front.jpg id_00000011 query", "lists img/MEN.* twice"),
    ],
)
def test_a_broken_line_is_named(broken, line, message):
    with pytest.raises(ValueError, match=message):
        InShop(broken(line), check_counts=False)


def test_a_missing_list_and_heading_are_named(tmp_path, write_lines):
    with pytest.raises(FileNotFoundError, match=r"list_eval_partition\.txt is missing"):
        InShop(str(tmp_path))
    write_lines(tmp_path / "list_eval_partition.txt", *lines())
    with pytest.raises(ValueError, match="line 2, must begin with 'image_name '"):
        InShop(str(tmp_path), check_counts=False)
