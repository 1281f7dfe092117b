"""The sets caltech100 and omniglot, made again from what their archives hold."""

import os
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from kd_retrieval.datasets import Caltech100, Omniglot
from kd_retrieval.datasets.list_file import LISTS
from kd_retrieval.datasets.make import make_caltech100, make_omniglot

DATA = Path(os.environ.get("KD_DATA") or "data")
# Classes of Caltech-101 with more than 60 images, and how many they have.
LARGE = dict(
    airplanes=800, bonsai=128, brain=98, buddha=85, butterfly=91, car_side=123, chair=62,
    chandelier=107, cougar_face=69, crab=73, crayfish=70, dalmatian=67, dolphin=65, dragonfly=68,
    electric_guitar=75, elephant=64, euphonium=64, ewer=85, Faces=435, ferry=67, flamingo=67,
    grand_piano=99, hawksbill=100, helicopter=88, ibis=80, joshua_tree=64, kangaroo=86, ketch=114,
    lamp=61, laptop=81, Leopards=200, llama=78, lotus=66, menorah=87, minaret=76, Motorbikes=798,
    revolver=82, scorpion=84, schooner=63, soccer_ball=64, starfish=86, stop_sign=64,
    sunflower=85, trilobite=86, umbrella=75, watch=239,
)  # fmt: skip


def needs(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not there; set KD_DATA to the folder that holds {name}")


def same_lists(name, out):
    for part in ("train", "test"):
        file = f"retrieval_{part}.txt"
        assert (out / file).read_text() == (DATA / name / file).read_text()


def test_caltech100_is_drawn_as_the_shared_one_was(make, tmp_path):
    needs("caltech100")
    images = Counter()
    for split in ("trainval", "test"):
        data = Caltech100(str(DATA / "caltech100"), split)
        images.update(data.class_of(row) for row in range(len(data)))
    images.update({name: size - 60 for name, size in LARGE.items()})
    assert images.total() == 8242  # 9,144 of Caltech-101 without 467 of background, 435 easy faces
    images.update(BACKGROUND_Google=70, Faces_easy=70)  # to be left out
    source = tmp_path / "101_ObjectCategories"
    one = tmp_path / "one.jpg"
    Image.new("L", (8, 6)).save(one)
    for name, count in images.items():
        (source / name).mkdir(parents=True)
        for number in range(1, count + 1):
            os.link(one, source / name / f"image_{number:04}.jpg")
    code, text, _ = make("caltech100", source, "--out", tmp_path / "c")
    assert code == 0 and "trainval: 2,662 images of 50 classes" in text
    same_lists("caltech100", tmp_path / "c")


def test_omniglot_is_joined_as_the_shared_one_was(make, tmp_path):
    needs("omniglot")
    shared = DATA / "omniglot/images"
    sources = [tmp_path / f"images_background_small{i}" for i in (1, 2)]
    for source, names in zip(
        sources,
        (
            ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"),
            ("Greek", "Japanese_(katakana)", "Latin", "Sanskrit", "Tagalog"),
        ),
        strict=True,
    ):
        for name in names:
            shutil.copytree(shared / name, source / name, copy_function=os.symlink)
    assert make("omniglot", *sources, "--out", tmp_path / "o")[0] == 0
    same_lists("omniglot", tmp_path / "o")
    assert Omniglot(str(tmp_path / "o"), "test")[0]["inputs"].shape == (3, 105, 105)


@pytest.fixture
def make(run_tool):
    """Run the command; returns exit code, output and error output."""
    return partial(run_tool, "make-retrieval-sets")


def test_images_are_shrunk_but_not_enlarged_and_stay_gray(tmp_path):
    sizes = {"a": (300, 288), "B": (100, 150), "c": (200, 400), "d": (144, 144)}
    for name, size in sizes.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("L" if name == "a" else "RGB", size).save(tmp_path / f"in/{name}/image_0001.jpg")
    make_caltech100(tmp_path / "in", tmp_path / "out")
    found = {}
    for name in sizes:
        with Image.open(tmp_path / f"out/images/{name}/image_0001.jpg") as image:
            found[name] = (image.size, image.mode)
    assert found == dict(
        a=((150, 144), "L"), B=((100, 150), "RGB"), c=((144, 288), "RGB"), d=((144, 144), "RGB")
    )
    lists = [(tmp_path / "out" / name).read_text() for name in LISTS]
    assert lists == [  # capitals do not count in the order of classes
        "images/a/image_0001.jpg 0\nimages/B/image_0001.jpg 1\n",
        "images/c/image_0001.jpg 0\nimages/d/image_0001.jpg 1\n",
    ]


def test_an_image_that_differs_between_folders_is_named(tmp_path):
    for part in ("one", "two"):
        (tmp_path / part / "Greek/character01").mkdir(parents=True)
        (tmp_path / part / "Greek/character01/1_01.png").write_text(part)
    with pytest.raises(ValueError, match=r"Greek/character01/1_01\.png must be the same"):
        make_omniglot([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert not (tmp_path / "out/retrieval_train.txt").exists()


def test_what_cannot_be_made_is_said(make, tmp_path):
    (tmp_path / "in/cat").mkdir(parents=True)
    for arguments, said in (
        (("omniglot", tmp_path / "in", "--out", tmp_path / "out"), "made from 2 unpacked folder"),
        (("caltech100", tmp_path / "nowhere", "--out", tmp_path / "out"), "nowhere"),
        (("caltech100", tmp_path / "in", "--out", tmp_path), "must not be there yet"),
    ):
        code, _, error = make(*arguments)
        assert code == 1 and said in error


def test_an_incomplete_source_is_told_by_its_counts(make, tmp_path):
    for name in "abcd":
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("L", (8, 6)).save(tmp_path / f"in/{name}/image_0001.jpg")
    code, _, error = make("caltech100", tmp_path / "in", "--out", tmp_path / "out")
    assert code == 1 and "must have 2,662 images of 50 classes" in error
    assert [path.name for path in tmp_path.iterdir()] == ["in"]  # nothing half made stays


def test_what_a_killed_run_left_is_removed_and_named(make, tmp_path, caplog):
    killed = tmp_path / f".out.{'a' * 16}.tmp"
    (killed / "content/images").mkdir(parents=True)
    (killed / "lock").touch()
    (tmp_path / "in").mkdir()
    assert make("caltech100", tmp_path / "in", "--out", tmp_path / "out")[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert f"removed {killed}" in caplog.text
