"""Cars196, as small replicas in its two native layouts."""

import numpy as np
import pytest
from scipy.io import savemat

from kd_retrieval.datasets import Cars196, cars

NAMES = [f"Car {i} Coupé 2012" for i in range(1, 13)]
LABELS = [1, *(label for label in range(2, 13) for _ in range(2))]
BOX = [(f"bbox_{end}", "O") for end in ("x1", "y1", "x2", "y2")]


def annotations(first, rows, last):
    """Make MATLAB's array of structures: fields before the box, or behind the class."""
    kinds = [*first, *BOX, ("class", "O"), *last]
    found = np.zeros((1, len(rows)), dtype=kinds)
    for place, row in enumerate(rows):
        for name, value in row.items():
            found[0, place][name] = value
        for name, _ in BOX:
            found[0, place][name] = 5
    return found


def cells(texts):
    return np.array(texts, dtype=object)[None]


@pytest.fixture
def root(tmp_path, draw):
    """The older layout: one list, one folder."""
    rows = []
    for number, label in enumerate(LABELS, 1):
        name = f"car_ims/{number:06}.jpg"
        draw(tmp_path / name)
        rows.append({"relative_im_path": name, "class": label, "test": number % 2})
    first, last = [("relative_im_path", "O")], [("test", "O")]
    found = annotations(first, rows, last)
    savemat(tmp_path / "cars_annos.mat", dict(annotations=found, class_names=cells(NAMES)))
    return tmp_path


@pytest.fixture
def devkit(tmp_path, draw):
    """The later layout: a devkit, a folder to train on and one to test on."""
    root = tmp_path / "stanford_cars"
    (root / "devkit").mkdir(parents=True)
    for part, path in (
        ("train", root / "devkit/cars_train_annos.mat"),
        ("test", root / "cars_test_annos_withlabels.mat"),
    ):
        labels = LABELS[::2] if part == "train" else LABELS[1::2]
        rows = [{"class": label, "fname": f"{i:05}.jpg"} for i, label in enumerate(labels, 1)]
        for row in rows:
            draw(root / f"cars_{part}" / row["fname"])
        savemat(path, dict(annotations=annotations([], rows, [("fname", "O")])))
    savemat(root / "devkit/cars_meta.mat", dict(class_names=cells(NAMES)))
    return root


def test_the_halves_of_the_classes(root, check_splits):
    data = check_splits(lambda split: Cars196(str(root), split, check_counts=False))
    assert data["trainval"].class_names == tuple(NAMES[:6])
    assert data["val"].class_names == tuple(NAMES[4:6])
    assert data["test"].class_names == tuple(NAMES[6:])
    assert data["train"].paths[:2] == ["car_ims/000001.jpg", "car_ims/000002.jpg"]
    assert data["test"].ids.tolist() == list(range(12, 24))


def test_the_devkit_has_the_same_classes(root, devkit, check_splits):
    data = check_splits(lambda split: Cars196(str(devkit), split, check_counts=False))
    for split, one in data.items():
        other = Cars196(str(root), split, check_counts=False)
        assert one.class_names == other.class_names
        assert np.bincount(one.labels).tolist() == np.bincount(other.labels).tolist()
    assert {path.split("/")[0] for path in data["test"].paths} == {"cars_train", "cars_test"}


def test_labels_of_the_devkit_may_lie_within_it(devkit):
    whole = Cars196(str(devkit), check_counts=False).records
    name = "cars_test_annos_withlabels.mat"
    (devkit / name).rename(devkit / "devkit" / name)
    assert Cars196(str(devkit), check_counts=False).records == whole


def test_the_published_counts(root, monkeypatch):
    assert cars.COUNTS == {"trainval": (8054, 98), "test": (8131, 98)}
    with pytest.raises(ValueError, match="8,054 images of 98 .* 11 of 6.*incomplete"):
        Cars196(str(root))
    monkeypatch.setattr(cars, "COUNTS", {"trainval": (11, 6), "test": (12, 6)})
    assert len(Cars196(str(root), "test")) == 12


def test_what_is_missing_is_named(tmp_path, devkit):
    with pytest.raises(FileNotFoundError, match=r"cars_annos\.mat is missing"):
        Cars196(str(tmp_path))
    (devkit / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"withlabels\.mat is missing"):
        Cars196(str(devkit))


def test_a_class_without_a_name_is_refused(root):
    rows = [{"relative_im_path": "a.jpg", "class": 3, "test": 0}]
    found = annotations([("relative_im_path", "O")], rows, [("test", "O")])
    savemat(root / "cars_annos.mat", dict(annotations=found, class_names=cells(NAMES[:2])))
    with pytest.raises(ValueError, match="names 2 classes.* but they are 3 to 3"):
        Cars196(str(root), check_counts=False)


@pytest.mark.parametrize("fault", ["cut", "text", "other", "without labels"])
def test_a_broken_list_is_named(root, fault):
    path = root / "cars_annos.mat"
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:700])
    elif fault == "text":
        path.write_text("<html>404</html>")
    elif fault == "other":
        savemat(path, dict(something=1))
    else:  # as the public test list of the devkit is
        found = np.zeros((1, 1), dtype=[("fname", "O")])
        savemat(path, dict(annotations=found, class_names=cells(NAMES)))
    with pytest.raises(ValueError, match=r"cars_annos\.mat must be a MATLAB file with .*class"):
        Cars196(str(root))
