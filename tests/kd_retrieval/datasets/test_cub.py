"""CUB-200-2011, as a small replica in its native layout."""

import pytest

from kd_retrieval.datasets import CUB200, cub

CLASSES = 12


@pytest.fixture
def root(tmp_path, draw, write_lines):
    """12 classes of 2 images, class 1 of one alone; file names with a blank and an umlaut."""
    root = tmp_path / "CUB_200_2011"
    images, labels = [], []
    for number in range(1, CLASSES + 1):
        for name in ("Bird 1.jpg", "Vögel_2.jpg")[: 1 if number == 1 else 2]:
            images.append(f"{number:03}.Some_Bird/{name}")
            labels.append(number)
            draw(root / "images" / images[-1], mode="L" if name[0] == "B" else "RGB")
    write_lines(root / "images.txt", *(f"{i} {path}" for i, path in enumerate(images, 1)))
    write_lines(
        root / "image_class_labels.txt", *(f"{i} {label}" for i, label in enumerate(labels, 1))
    )
    write_lines(root / "classes.txt", *(f"{i} {i:03}.Some_Bird" for i in range(1, CLASSES + 1)))
    return root


def test_the_halves_of_the_classes(root, check_splits):
    data = check_splits(lambda split: CUB200(str(root), split, check_counts=False))
    assert data["trainval"].class_names == tuple(f"{i:03}.Some_Bird" for i in range(1, 7))
    assert data["val"].class_names == ("005.Some_Bird", "006.Some_Bird")
    assert data["test"].ids.tolist() == list(range(12, 24))
    assert data["trainval"].labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert data["test"].paths[1] == "images/007.Some_Bird/Vögel_2.jpg"


def test_windows_line_ends(root):
    expected = CUB200(str(root), "test", check_counts=False).records
    for path in root.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert CUB200(str(root), "test", check_counts=False).records == expected


def test_the_published_counts(root, monkeypatch):
    assert cub.COUNTS == {"trainval": (5864, 100), "test": (5924, 100)}
    with pytest.raises(ValueError, match="must have 5,864 images of 100 .* 11 of 6.*11,788 images"):
        CUB200(str(root))
    with pytest.raises(ValueError, match="5,924 images .* 12 of 6.*not CUB-200 of 2010"):
        CUB200(str(root), "test")
    monkeypatch.setattr(cub, "COUNTS", {"trainval": (11, 6), "test": (12, 6)})
    assert len(CUB200(str(root), "train")) == 7


def test_the_other_birds_of_2010_are_recognized(root, write_lines):
    each = [31] * 33 + [30] * 167
    labels = [label for label, n in enumerate(each, 1) for _ in range(n)]
    assert len(labels) == 6033  # as CUB-200 of 2010 has; how many of each class is made up
    write_lines(root / "images.txt", *(f"{i} {i}.jpg" for i in range(1, 6034)))
    write_lines(root / "image_class_labels.txt", *(f"{i} {n}" for i, n in enumerate(labels, 1)))
    write_lines(root / "classes.txt", *(f"{i} b{i}" for i in range(1, 201)))
    with pytest.raises(ValueError, match="Wanted is CUB-200-2011 .*, not CUB-200 of 2010"):
        CUB200(str(root))


@pytest.mark.parametrize("name", ["images.txt", "image_class_labels.txt", "classes.txt"])
def test_a_missing_list_is_named(root, name):
    (root / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        CUB200(str(root))


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("images.txt", "24", r"images\.txt, line 24, must be 'id path', but is '24'"),
        ("images.txt", "x a.jpg", r"lacks that of .*images\.txt, line 24, and of 0 more"),
        ("images.txt", "3 a.jpg", r"gives id 3 to images/002\.Some_Bird/.* and to images/a\.jpg"),
        ("images.txt", "24 001.Some_Bird/Bird 1.jpg", r"images\.txt lists images/001.* twice"),
        ("image_class_labels.txt", "24 13", r"labels\.txt, line 24, .* but has '13'"),
        ("image_class_labels.txt", "24 y", r"labels\.txt, line 24, .* but has 'y'"),
    ],
)
def test_a_broken_line_is_named(root, name, line, message):
    if name == "images.txt" and line.startswith("24 "):
        (root / "image_class_labels.txt").open("a").write("24 1\n")
    with (root / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=message):
        CUB200(str(root), check_counts=False)


def test_a_missing_image_is_named(root):
    data = CUB200(str(root), check_counts=False)
    (root / data.paths[0]).unlink()
    with pytest.raises(FileNotFoundError, match=r"Bird 1\.jpg is missing"):
        data[0]
