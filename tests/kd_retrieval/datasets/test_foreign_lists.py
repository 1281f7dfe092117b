"""Lists from anywhere: paths that leave the folder, and files that are damaged."""

import posixpath
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from kd_retrieval.datasets import CUB200, SOP, Caltech100, Cars196, CSVFile, InShop, Omniglot

FUZZ = runpy.run_path(str(Path(__file__).parents[2] / "fuzz.py"))
quick, damaged, read_or_refuse = FUZZ["quick"], FUZZ["damaged"], FUZZ["read_or_refuse"]


def cub(paths):
    return {
        "classes.txt": "1 x\n2 y\n3 z\n4 u\n",
        "image_class_labels.txt": "1 1\n2 2\n3 3\n4 4\n",
        "images.txt": "".join(f"{i} {path}\n" for i, path in enumerate(paths, 1)),
    }


def sop(paths):
    rows = [f"{i} {i} 1 {path}\n" for i, path in enumerate(paths, 1)]
    heading = "image_id class_id super_class_id path\n"
    return {
        "Ebay_train.txt": heading + "".join(rows[:2]),
        "Ebay_test.txt": heading + "".join(rows[2:]),
    }


def inshop(paths):
    ends = ("id_0 train", "id_1 train", "id_2 query", "id_2 gallery")
    rows = [f"{path} {end}\n" for path, end in zip(paths, ends, strict=True)]
    return {"list_eval_partition.txt": "4\nimage_name item_id status\n" + "".join(rows)}


def listed(paths):
    lists = []
    for part in (paths[:2], paths[2:]):
        labels, rows = {}, []
        for path in part:
            label = labels.setdefault(Path(posixpath.normpath(path)).parent, len(labels))
            rows.append(f"{path} {label}\n")
        lists.append("".join(rows))
    return dict(zip(("retrieval_train.txt", "retrieval_test.txt"), lists, strict=True))


def own_csv(paths):
    rows = [f'{path},"class {i}",{"test" if i > 1 else ""},{i}\n' for i, path in enumerate(paths)]
    return {"list.csv": "path,label,split,id\n" + "".join(rows)}


KINDS = {
    "cub": (cub, lambda root, split: CUB200(root, split, check_counts=False)),
    "sop": (sop, lambda root, split: SOP(root, split, check_counts=False)),
    "inshop": (inshop, lambda root, split: InShop(root, split, check_counts=False)),
    "caltech100": (listed, lambda root, split: Caltech100(root, split, check_counts=False)),
    "omniglot": (listed, lambda root, split: Omniglot(root, split, check_counts=False)),
    "csv": (own_csv, lambda root, split: CSVFile(root, "list.csv", split)),
}
GOOD = ["k/a/0.png", "k/b/1.png", "k/c/2.png", "k/d/3.png"]


def written(root, kind, paths):
    files = KINDS[kind][0](paths)
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    return files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["trainval", "test"])
def test_good_lists_are_read(tmp_path, kind, split):
    written(tmp_path, kind, GOOD)
    paths = KINDS[kind][1](str(tmp_path), split).paths
    assert [path[-9:] for path in paths] == (GOOD[2:] if split == "test" else GOOD[:2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["../a/0.png", "/elsewhere/a/0.png", "a/../../0.png"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, kind, path):
    written(tmp_path, kind, [path, *GOOD[1:]])
    if kind == "csv" and path.startswith("/"):
        assert CSVFile(str(tmp_path), "list.csv").paths[0] == path  # whoever writes it, means it
        return
    with pytest.raises(ValueError, match=r"line \d, must have a path below the data folder"):
        KINDS[kind][1](str(tmp_path), "trainval")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", ["./k/b/1.png", "k//b/1.png", "k/./b/1.png", "e/../k/b/1.png"])
def test_a_path_that_is_written_in_two_ways_is_one_image(tmp_path, kind, again):
    written(tmp_path, kind, [again, *GOOD[1:]])
    with pytest.raises(ValueError, match=r"k/b/1\.png twice"):
        KINDS[kind][1](str(tmp_path), "trainval")


@pytest.mark.parametrize("kind", ["cub", "sop", "inshop", "omniglot", "csv"])
@quick(80)
@given(data=st.data())
def test_a_damaged_list_ends_in_an_error_that_names_it(tmp_path, kind, data):
    files = written(tmp_path, kind, GOOD)
    name = data.draw(st.sampled_from(sorted(files)))
    (tmp_path / name).write_bytes(data.draw(damaged(files[name].encode())))
    for split in ("trainval", "test"):
        read_or_refuse(lambda split=split: KINDS[kind][1](str(tmp_path), split), tmp_path)


@quick(120)
@given(rows=st.lists(st.lists(st.text(max_size=8), min_size=6, max_size=6), max_size=4))
def test_any_text_in_a_csv_file_is_read_or_refused(tmp_path, rows):
    def cell(text):
        return '"' + text.replace('"', '""') + '"'

    lines = ["path,label,split,role,group,id", *(",".join(map(cell, row[:6])) for row in rows)]
    (tmp_path / "list.csv").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    read_or_refuse(lambda: CSVFile(str(tmp_path), "list.csv"), tmp_path)


def cars(root, paths, classes=(1, 2, 3, 4)):
    rows = np.zeros((1, len(paths)), dtype=[("relative_im_path", "O"), ("class", "O")])
    for i, (path, label) in enumerate(zip(paths, classes, strict=True)):
        rows[0, i]["relative_im_path"], rows[0, i]["class"] = path, label
    names = np.array(list("wxyz"), dtype=object)[None]
    savemat(root / "cars_annos.mat", dict(annotations=rows, class_names=names))
    return (root / "cars_annos.mat").read_bytes()


@pytest.mark.parametrize(
    ("paths", "classes", "message"),
    [
        (["../0.png", *GOOD[1:]], (1, 2, 3, 4), "must have a path below the data folder"),
        ([GOOD[0], "./" + GOOD[0], *GOOD[2:]], (1, 2, 3, 4), r"k/a/0\.png twice"),
        (GOOD, (1, 2, 3, 5), "must be 1 to 4, but they are 1 to 5"),
        (GOOD, (1, 2, 3, "four"), "must be whole numbers"),
        (GOOD, (1, 2, 3, [4, 5]), "must be whole numbers"),
    ],
)
def test_odd_values_of_a_matlab_file_are_named(tmp_path, paths, classes, message):
    cars(tmp_path, paths, classes)
    with pytest.raises(ValueError, match=message):
        Cars196(str(tmp_path), check_counts=False)


@quick(100)
@given(data=st.data())
def test_a_damaged_matlab_file_ends_in_an_error_that_names_it(tmp_path, data):
    content = cars(tmp_path, GOOD)
    (tmp_path / "cars_annos.mat").write_bytes(data.draw(damaged(content)))
    read_or_refuse(lambda: Cars196(str(tmp_path), check_counts=False), tmp_path)
