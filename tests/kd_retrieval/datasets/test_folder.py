"""Folders of a user: one for each class, with or without folders for the splits."""

import os

import pytest

from kd_retrieval.datasets import LabeledFolder

CLASSES = ("ant", "bee one", "ça", "dog", "emu")


@pytest.fixture
def plain(tmp_path, draw):
    """Class folders alone, with 1 to 5 images."""
    for count, name in enumerate(CLASSES, 1):
        for number in range(count):
            draw(tmp_path / name / f"pic {number}.{'PNG' if number else 'jpg'}")
    return tmp_path


@pytest.fixture
def split(tmp_path, draw):
    """train/ and test/ with class folders."""
    for part, names in (("train", "abcd"), ("test", "ef")):
        for name in names:
            for number in range(2):
                draw(tmp_path / part / name / f"{number}.png")
    return tmp_path


def test_class_folders_divided_by_number(plain, check_splits):
    data = check_splits(lambda part: LabeledFolder(str(plain), part, test_classes=1))
    assert data["test"].class_names == ("ça",)  # sorted by code point
    assert data["train"].class_names == ("ant", "bee one")
    assert data["val"].class_names == ("dog", "emu")
    assert data["train"].paths == ["ant/pic 0.jpg", "bee one/pic 0.jpg", "bee one/pic 1.PNG"]


def test_class_folders_divided_by_name(plain):
    chosen = dict(test_classes=["ant", "emu"])
    assert LabeledFolder(str(plain), "test", **chosen).class_names == ("ant", "emu")
    assert len(LabeledFolder(str(plain), "trainval", **chosen)) == 9
    with pytest.raises(ValueError, match="two classes each, but there are only 3"):
        LabeledFolder(str(plain), "val", **chosen)


@pytest.mark.parametrize("chosen", [0, -2, 5, 9, [], ["cow"], ["ant", "cow"], CLASSES])
def test_some_classes_but_not_all_must_be_searched(plain, chosen):
    with pytest.raises(ValueError, match="must be some, not all, of the 5 classes"):
        LabeledFolder(str(plain), test_classes=chosen)
    with pytest.raises(ValueError, match="5 classes must be divided"):
        LabeledFolder(str(plain))


def test_train_and_test_folders(split, check_splits):
    data = check_splits(lambda part: LabeledFolder(str(split), part))
    assert data["trainval"].class_names == tuple("abcd")
    assert data["val"].class_names == ("c", "d")
    assert data["test"].paths == ["test/e/0.png", "test/e/1.png", "test/f/0.png", "test/f/1.png"]


def test_a_val_folder_is_taken_as_it_is(split, draw, check_splits):
    draw(split / "val/g/0.png")
    data = check_splits(lambda part: LabeledFolder(str(split), part))
    assert data["train"].class_names == tuple("abcd") and data["val"].class_names == ("g",)
    assert data["trainval"].class_names == tuple("abcdg")


def test_a_class_of_both_sides_has_the_same_name_in_both(split, draw):
    """So that the check of a config can see and refuse it."""
    draw(split / "test/a/0.png")
    train, test = (LabeledFolder(str(split), part) for part in ("trainval", "test"))
    assert set(train.class_names) & set(test.class_names) == {"a"}


def test_a_class_is_the_folder_that_holds_its_images(split, draw):
    draw(split / "test/e/young/0.png")
    data = LabeledFolder(str(split), "test")
    assert data.class_names == ("e", "e/young", "f") and data.class_of(2) == "e/young"


def test_ids_do_not_depend_on_the_split(plain):
    everything = sorted(p.relative_to(plain).as_posix() for p in plain.rglob("*.*"))
    for part in ("train", "val", "trainval", "test"):
        for one in LabeledFolder(str(plain), part, test_classes=1).records:
            assert everything[one.id] == one.path


def test_other_files_are_left_out_with_a_warning_and_hidden_ones_without(split, recwarn):
    (split / "train/a/._0.png").write_bytes(b"")
    (split / "train/.thumbs").mkdir()
    (split / "train/.thumbs/x.png").write_bytes(b"")
    assert len(LabeledFolder(str(split))) == 8 and not recwarn
    (split / "train/a/photo.heic").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 files of .* such as train/a/photo\.heic"):
        assert len(LabeledFolder(str(split))) == 8


def test_linked_folders_are_followed_but_only_once(split, tmp_path_factory, draw):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    draw(elsewhere / "0.png")
    os.symlink(elsewhere, split / "test/linked", target_is_directory=True)
    assert LabeledFolder(str(split), "test").class_names == ("e", "f", "linked")
    os.symlink(split, split / "test/loop", target_is_directory=True)
    with pytest.raises(ValueError, match="linked to once, but .*loop is there twice"):
        LabeledFolder(str(split), "test")


def test_what_has_no_place_is_named(split, draw, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match="nowhere is missing"):
        LabeledFolder(str(split / "nowhere"))
    with pytest.raises(ValueError, match="has no image"):
        LabeledFolder(str(tmp_path_factory.mktemp("empty")))
    with pytest.raises(ValueError, match="folders train, test, so test_classes must be left out"):
        LabeledFolder(str(split), test_classes=1)
    draw(split / "more/x/0.png")
    with pytest.raises(ValueError, match="train, test and maybe val, but it has more, test, train"):
        LabeledFolder(str(split))
    draw(split / "train/lost.png")
    with pytest.raises(ValueError, match=r"folder of its class, but .*lost\.png does not"):
        LabeledFolder(str(split))


def test_train_alone_is_not_enough(tmp_path, draw):
    draw(tmp_path / "train/a/0.png")
    with pytest.raises(ValueError, match="must have the folders .*, but it has train"):
        LabeledFolder(str(tmp_path))
