"""CSV files of a user."""

import numpy as np
import pytest
from torch.utils.data import default_collate

from kd_retrieval.datasets import BOTH, GALLERY, QUERY, CSVFile
from kd_retrieval.sampler import MPerClassBatchSampler

HEADING = "path,label,split,role,group,id"


@pytest.fixture
def csv(tmp_path, write_lines, draw):
    """Write list.csv and an image for every path; returns how to open it."""

    def make(*lines, heading=HEADING, draws=False, **options):
        write_lines(tmp_path / "list.csv", heading, *lines, **options)
        for line in lines if draws else ():
            draw(tmp_path / line.split(",")[0].strip('"'))
        return lambda split="trainval", **more: CSVFile(str(tmp_path), "list.csv", split, **more)

    return make


SIX = [f"a/{name} {i}.jpg,class {name},," for name in "abcd" for i in range(2)]
SIX += [f"a/{name}.jpg,cläss {name},test,{role}" for name in "ef" for role in ("", "both")][::2]


def test_val_is_taken_from_the_training_classes(csv, check_splits):
    data = check_splits(csv(*SIX, heading="path,label,split,role", draws=True, end="\r\n"))
    assert data["train"].class_names == ("class a", "class b")
    assert data["val"].class_names == ("class c", "class d")
    assert data["test"].class_names == ("cläss e", "cläss f")
    assert data["test"].ids.tolist() == [8, 9]
    assert data["trainval"].paths[1] == "a/a 1.jpg" and set(data["test"].roles) == {BOTH}


def test_everything_may_be_said(csv, check_splits):
    data = check_splits(
        csv(
            "a.png,x,train,,session 1,70",
            "b.png,x,train,both,session 1,60",
            '"c, d.png","y ""2""",val,,,50',
            "e.png,z,test,query,s,40",
            "f.png,z,test,gallery,s,30",
        ),
        items=False,
    )
    assert data["train"].ids.tolist() == [70, 60] and data["val"].class_names == ('y "2"',)
    assert data["trainval"].class_names == ("x", 'y "2"')
    assert data["test"].roles.tolist() == [QUERY, GALLERY]
    assert data["val"].paths == ["c, d.png"]


def test_columns_in_any_order_and_paths_from_the_root(tmp_path, csv, draw):
    draw(tmp_path / "x/1.png")
    open_ = csv("z,x/1.png", "z,x/2.png", heading="label,path", encoding="utf-8-sig")
    assert open_()[0]["inputs"].shape == (3, 5, 6)
    absolute = CSVFile(str(tmp_path / "x"), str(tmp_path / "list.csv"))
    assert absolute.paths == open_().paths


def test_several_labels_are_lists(csv):
    open_ = csv("a.png,red;round,test", "b.png,blue,test", "c.png, round ;red;red,test",
                "d.png,x,train", heading="path,label,split", draws=True)  # fmt: skip
    data = open_("test")
    assert data.class_names == ("blue", "red", "round") == data.metainfo["classes"]
    assert [data[i]["labels"] for i in range(3)] == [[1, 2], [0], [1, 2]]
    assert data.class_of(0) == ["red", "round"]
    assert len(data.fingerprint()) == 64
    assert open_("trainval")[0]["labels"] == 0  # the other split has one label an image


def test_several_labels_are_for_evaluation_alone(csv):
    data = csv("a.png,red;round", "b.png,blue", heading="path,label")
    with pytest.raises(ValueError, match="must have rows of split val"):
        data("val")
    sampler = type("Sampler", (), dict(dataset=data("trainval")))()
    with pytest.raises(ValueError, match="one integer an image, but CSVFile has not"):
        MPerClassBatchSampler(sampler, 2, 1)


def test_single_labels_make_a_batch(csv):
    data = csv(*SIX, heading="path,label,split,role", draws=True)("trainval")
    batch = default_collate([data[0], data[7]])
    assert batch["labels"].tolist() == [0, 3] and batch["inputs"].shape == (2, 3, 5, 6)


def test_the_same_class_on_both_sides_has_the_same_name(csv):
    """So that the check of a config can see and refuse it."""
    open_ = csv("a.png,x,train", "b.png,x,test", heading="path,label,split")
    assert set(open_("trainval").class_names) & set(open_("test").class_names) == {"x"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["b.png,x"], "line 3, must have 6 fields, but has 2"),
        (["b.png,x,,,,,"], "line 3, must have 6 fields, but has 7"),
        (["", ",x,,,,1"], "line 4, must have a path, but has ''"),
        (["b.png, ,,,,1"], "line 3, must have a label"),
        (["b.png,; ;,,,,1"], "line 3, must have a label, but has '; ;'"),
        (["b.png,x,valid,,,1"], "line 3, must say train, val, test or nothing, but has 'valid'"),
        (["b.png,x,,Query,,1"], "line 3, must say query, gallery, both or nothing, but"),
        (["b.png,x,,,,1.5"], "line 3, must have a whole number as id, .* but has '1.5'"),
        (["b.png,x,,,,"], "line 3, must have a whole number as id, as other lines do, but has ''"),
        (["b.png,x,,,,0"], r"gives id 0 to a\.png and to b\.png"),
        (["a.png,x,test,,,1"], r"list\.csv lists a\.png twice"),
        (["b.png,y,test,,g,1"], "line 3, puts group 'g' into test and an earlier line into train"),
        (['"b.png,x,,,,1'], "line 3, is not CSV"),
    ],
)
def test_a_broken_line_is_named(csv, lines, message):
    with pytest.raises(ValueError, match=message):
        csv("a.png,x,train,,g,0", *lines)()


@pytest.mark.parametrize("line", ['"a\nb.png",x,,,,1', 'b.png,"x\ny",,,,1', 'b.png,x,,,"\n",1'])
def test_a_line_break_within_quotes_is_named(csv, line):
    """csv would join the two lines: a class "x" and "y" would become "xy"."""
    with pytest.raises(ValueError, match="line 3, must end its fields, .* runs on to line 4"):
        csv("a.png,x,train,,g,0", line, "c.png,x,,,,2")()
    with pytest.raises(ValueError, match="line 1, must end its fields"):
        csv("a.png,x", heading='path,"la\nbel"')()


@pytest.mark.parametrize("character", ["\x0b", "\x1b", "\x7f", "\x85", "\u2028"])
def test_a_control_character_in_a_label_is_named(csv, character):
    for line in (f"b.png,x{character}y,,,,1", f"b.png,x,,,x{character}y,1"):
        with pytest.raises(ValueError, match=r"line 3, must have no control character, but has 'x"):
            csv("a.png,x,train,,g,0", line)()


@pytest.mark.parametrize(
    "path", ["./d/0.png", "d//0.png", "d/./0.png", "e/../d/0.png", "ROOT/d/0.png"]
)
def test_a_path_that_is_written_in_two_ways_is_one_image(csv, tmp_path, path):
    path = path.replace("ROOT", str(tmp_path))
    assert csv(f"{path},x", "d/1.png,y", heading="path,label")().paths == ["d/0.png", "d/1.png"]
    with pytest.raises(ValueError, match=r"list\.csv lists d/0\.png twice"):
        csv("d/0.png,x", f"{path},y", heading="path,label")()


@pytest.mark.parametrize("path", ["../a.png", "d/../../a.png", "..", ".", "d/..", "ROOT"])
def test_a_path_that_leaves_the_folder_is_named(csv, tmp_path, path):
    path = path.replace("ROOT", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"line 3, must have a path below the data folder .*data_root"
    ):
        csv("a.png,x", f"{path},x", heading="path,label")()


def test_an_absolute_path_may_lie_anywhere_and_go_through_a_link(tmp_path, csv):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    csv(f"{tmp_path}/real/a.png,x", f"{tmp_path}/link/b.png,x", heading="path,label")
    data = CSVFile(str(tmp_path / "link"), str(tmp_path / "list.csv"))
    assert data.paths == ["a.png", "b.png"]
    data = CSVFile(str(tmp_path / "elsewhere"), str(tmp_path / "list.csv"))
    assert data.paths == [f"{tmp_path}/real/a.png", f"{tmp_path}/link/b.png"]
    csv(f"{tmp_path}/a.png,x", f"{tmp_path}/b/../a.png,x", heading="path,label")
    with pytest.raises(ValueError, match=r"lists .*/a\.png twice"):
        CSVFile(str(tmp_path / "elsewhere"), str(tmp_path / "list.csv"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\na.png,x\n".encode("utf-16"), "must be UTF-8"),
        ("path,label\na.png,x\n".encode("utf-16-le"), "line 1, must be plain text, but has a NUL"),
        (
            2 * "path,label\na.png,x\n".encode("utf-8-sig"),
            "line 3, .* has a byte order mark within",
        ),
        (b"path,label\na.png,x\x00\n", "line 2, must be plain text, but has a NUL"),
    ],
)
def test_another_encoding_is_named(tmp_path, content, message):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"list\.csv,? {message}"):
        CSVFile(str(tmp_path), "list.csv")


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        ("path;label", "must have the columns path and label.*but it has path;label"),
        ("path,labels", "but it has path, labels"),
        ("path,label,path", "but it has path, label, path"),
        ("", "but it has none"),
    ],
)
def test_wrong_columns_are_named(csv, heading, message):
    with pytest.raises(ValueError, match=message):
        csv(heading=heading)()


def test_what_is_missing_is_named(csv, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"other\.csv is missing"):
        CSVFile(str(tmp_path), "other.csv")
    with pytest.raises(ValueError, match="must have an image, but this split of"):
        csv("a.png,x,train,,,")("test")
    with pytest.raises(FileNotFoundError, match=r"a\.png is missing"):
        csv("a.png,x,train,,,")()[0]
    with pytest.raises(ValueError, match="must be UTF-8"):
        csv("ä.png,x,train,,,", encoding="latin-1")()


def test_classes_of_one_image_are_kept(csv):
    data = csv("a.png,x", "b.png,y", "c.png,y", heading="path,label")("trainval")
    assert np.bincount(data.labels).tolist() == [1, 2]
