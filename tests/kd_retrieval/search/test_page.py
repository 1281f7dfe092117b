"""Page of queries and neighbors, and its content."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings
from kd_retrieval.search.index import build_index
from kd_retrieval.search.page import Card, Row, render
from kd_retrieval.search.queries import (
    choose_queries,
    exact_recall,
    measured_agreement,
    page_rows,
    queries_of,
)
from kd_retrieval.search.thumbnails import data_uri, images_of_folder

EVIL = '<script>alert("x")</script> & "quoted"'


def table(vectors, labels, **changes):
    count = len(labels)
    content = dict(
        vectors=np.asarray(vectors, np.float32),
        labels=np.asarray(labels, np.int64),
        ids=np.arange(count, dtype=np.int64) + 10,
        roles=np.zeros(count, np.int64),
        paths=tuple(f"{i}.png" for i in range(count)),
        class_names=("a", "b", "c"),
        key=EmbeddingKey("w" * 10, "data", "t", "m", "float32"),
    )
    return Embeddings(**{**content, **changes})


def on_a_circle(degrees, labels, **changes):
    angles = np.radians(degrees)
    return table(np.stack([np.cos(angles), np.sin(angles)], axis=1), labels, **changes)


class Reader(HTMLParser):
    """Collects tags, their attributes and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data.strip())


def some_page(**changes):
    card = Card(EVIL, EVIL, data_uri(Image.new("RGB", (8, 8), "red")))
    found = [Card("b", "p", "", f"0.{i}", kind) for i, kind in enumerate(("wrong", "right"))]
    content = dict(title=EVIL, figures=[("recall@1", EVIL)], notes=[EVIL])
    content["rows"] = [Row(card, found[::-1])]
    return render(**{**content, **changes})


def test_everything_is_escaped_and_nothing_is_loaded():
    page = some_page()
    found = Reader(page)
    assert "<script" not in page and "alert(&quot;x&quot;)" in page
    assert "".join(found.text).count(EVIL) == 7
    for tag, attributes in found.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("src", "data:image/").startswith("data:image/")
    policy = [a["content"] for t, a in found.tags if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not re.search(r"url\(|@import|https?:", page)


def test_a_long_name_breaks_where_it_should():
    page = some_page(rows=[Row(Card("a/b_c", "x.jpg"), [])])
    assert "<span class=name>a/<wbr>b_<wbr>c</span>" in page and "1. a/b_c<small>" in page


def test_neighbors_of_an_unknown_class_are_not_marked():
    page = some_page(rows=[Row(Card("", "new/x.jpg"), [Card("b", "p", "", "0.5", "open")])])
    assert re.findall(r"<figure class=(\w+)", page) == ["query", "open"]
    assert "not marked: the gallery has no such class" in page and "right</span>" not in page
    assert "<h2>1<small>" in page and "<div class=none>new/x.jpg</div>" in page


def test_right_and_wrong_differ_by_more_than_color():
    page = some_page()
    figures = re.findall(r"<figure class=(\w+).*?</figure>", page, re.S)
    assert figures == ["query", "right", "wrong"]
    parts = dict(re.findall(r"<figure class=(right|wrong)(.*?)</figure>", page, re.S))
    assert "&#10003;" in parts["right"] and ">right<" in parts["right"] and "0.1" in parts["right"]
    assert "&#10007;" in parts["wrong"] and ">wrong<" in parts["wrong"] and "0.0" in parts["wrong"]
    assert "border-style: dashed" in page
    assert "1 of 2 right" in page


@pytest.mark.parametrize(("side", "kind"), [(8, "png"), (300, "jpeg")])
def test_thumbnails(side, kind):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side), np.uint8))
    head, _, content = data_uri(image).partition(";base64,")
    assert head == f"data:image/{kind}"
    shown = Image.open(io.BytesIO(base64.b64decode(content)))
    assert shown.size == (min(side, 160),) * 2 and shown.mode == "RGB"
    if side == 8:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(image.convert("RGB")))


def test_images_of_a_folder(tmp_path):
    rows = table(np.eye(3), [0, 1, 2], paths=("in/a.png", "../out.png", "lost.png"))
    (tmp_path / "root/in").mkdir(parents=True)
    Image.new("L", (5, 4)).save(tmp_path / "root/in/a.png")
    Image.new("L", (5, 4)).save(tmp_path / "out.png")
    images = images_of_folder(tmp_path / "root", rows)
    assert images(0).size == (5, 4) and images(0).mode == "RGB"
    with pytest.raises(ValueError, match=r"must lie below .*root, but row 1 \(id 11, ../out.png\)"):
        images(1)
    with pytest.raises(FileNotFoundError, match="lost.png is missing"):
        images(2)
    (tmp_path / "root/lost.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="lost.png cannot be decoded"):
        images(2)


def test_the_page_shows_the_neighbors_in_order():
    rows = on_a_circle([0, 10, 30, 5], [0, 1, 0, 0])
    index, queries = build_index(rows), queries_of(rows)
    (row,) = page_rows(index, (rows, None), (queries, None), np.array([0]), 3)
    assert row.query == Card("a", "0.png")
    assert [(card.path, card.note, card.kind) for card in row.neighbors] == [
        ("3.png", f"{np.cos(np.radians(5)):.3f}", "right"),
        ("1.png", f"{np.cos(np.radians(10)):.3f}", "wrong"),
        ("2.png", f"{np.cos(np.radians(30)):.3f}", "right"),
    ]


def test_queries_of_an_unknown_class_are_shown_but_never_the_worst():
    gallery = on_a_circle([0, 10, 20], [0, 0, 1])
    new = on_a_circle([1, 2], [0, 1], class_names=("a", "zebra"), ids=np.array([-1, -2]))
    index, queries = build_index(gallery), queries_of(gallery, new)
    assert list(choose_queries(index, gallery, queries, 2, 9, worst=False)) == [0, 1]
    assert list(choose_queries(index, gallery, queries, 2, 9, worst=True)) == [0]
    page = page_rows(index, (gallery, None), (queries, None), np.array([0, 1]), 3)
    assert [[card.kind for card in row.neighbors] for row in page] == [
        ["right", "right", "wrong"],
        ["open"] * 3,
    ]
    assert page[1].query.name == "zebra"


def test_a_page_has_an_end():
    rows = table(np.random.default_rng(0).normal(size=(100, 3)), [0, 1] * 50)
    index, queries = build_index(rows), queries_of(rows)
    with pytest.raises(ValueError, match="at most 4,000 images.*make 10,100"):
        page_rows(index, (rows, None), (queries, None), np.arange(100), 1000)
    assert len(page_rows(index, (rows, None), (queries, None), np.arange(36), 1000)) == 36
    with pytest.raises(ValueError, match="the number is 0"):
        choose_queries(index, rows, queries, 3, 0, worst=False)


def test_the_worst_come_first():
    # 0, 1 and 2 are near their own; 3 has a near wrong neighbor, 5 a far one; 6 has no class mate
    rows = on_a_circle([0, 1, 2, 90, 91, 180, 240], [0, 0, 0, 1, 0, 1, 2])
    index, queries = build_index(rows), queries_of(rows)
    assert list(choose_queries(index, rows, queries, 1, 9, worst=True))[:2] in ([3, 4], [4, 3])
    assert list(choose_queries(index, rows, queries, 1, 9, worst=True))[2] == 5
    assert list(choose_queries(index, rows, queries, 1, 9, worst=False)) == [0, 1, 2, 3, 4, 5]
    assert len(choose_queries(index, rows, queries, 1, 2, worst=False)) == 2


def test_queries_without_an_answer():
    rows = on_a_circle([0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="no query has another image of its class"):
        choose_queries(build_index(rows), rows, queries_of(rows), 1, 9, worst=False)
    with pytest.raises(ValueError, match="there is no query"):
        queries_of(on_a_circle([0, 1], [0, 0], roles=np.array([2, 2])))


def test_recall_with_roles_counts_queries_in_the_gallery_alone():
    # query 0 is nearest to query 1 of its class, which is not in the gallery
    rows = on_a_circle([0, 1, 2, 50], [0, 0, 1, 0], roles=np.array([1, 1, 2, 2]))
    queries = queries_of(rows)
    assert not queries.symmetric and list(queries.answerable) == [True, True]
    result = exact_recall(rows, queries, (1, 2), "cosine")
    assert result.recall == {1: 0.0, 2: 1.0} and result.n_queries == 2
    everything = queries_of(on_a_circle([0, 1, 2, 50], [0, 0, 1, 1]))
    assert everything.symmetric


def test_queries_of_another_file_are_compared_by_name_and_image():
    gallery = on_a_circle([0, 10, 20], [0, 1, 2])
    other = on_a_circle(
        [1, 11, 21, 0],
        [0, 1, 2, 2],
        class_names=("c", "zebra", "a"),
        paths=("x.png", "y.png", "z.png", "0.png"),
        ids=np.array([10, 11, 12, 10**9]),
        key=EmbeddingKey("w" * 10, "others", "t", "m", "float32"),
    )
    queries = queries_of(gallery, other)
    assert list(queries.labels) == [2, -1, 0, 0]
    assert not np.isin(queries.ids, gallery.ids).any()  # numbered alike, but other images
    assert len(set(queries.ids)) == 4
    assert list(queries.answerable) == [True, False, True, True]
    paths = ("0.png", "y.png", "z.png", "w.png")
    same = queries_of(gallery, table(other.vectors, [0, 0, 0, 0], paths=paths, ids=other.ids,
                                     key=other.key))  # fmt: skip
    assert list(np.isin(same.ids, gallery.ids)) == [True, False, False, False]
    assert list(same.answerable) == [False, True, True, True]


def test_queries_of_another_network_are_refused():
    gallery = on_a_circle([0, 10], [0, 0])
    other = on_a_circle([0, 10], [0, 0], key=EmbeddingKey("v", "data", "t", "m", "float32"))
    with pytest.raises(
        ValueError, match=r"another checkpoint \(it has 'v', expected is 'wwwwwwwwww'\)\. Embed"
    ):
        queries_of(gallery, other)
    assert len(queries_of(gallery, other, asymmetric=True).rows) == 2
    with pytest.raises(ValueError, match="one size D, but they have 3 and 2"):
        queries_of(gallery, table(np.eye(3), [0, 1, 2]), asymmetric=True)


def test_agreement_of_a_learned_index():
    rng = np.random.default_rng(0)
    rows = table(rng.normal(size=(800, 6)), rng.integers(0, 3, 800))
    queries = queries_of(rows)
    assert measured_agreement(build_index(rows), rows, queries, 5) == 1
    few, all_lists = (build_index(rows, "ivf", probes=n) for n in (1, 99))
    assert measured_agreement(few, rows, queries, 5) < 0.9
    assert measured_agreement(all_lists, rows, queries, 5) > 0.99
