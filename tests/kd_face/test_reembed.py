"""Re-embedding: a space beside the old one, resumable, switched when complete, rolled back."""

import pytest
from sqlalchemy import select

from kd_face import pictures, reembed, settings
from kd_face.database.models import Embedding
from kd_face.errors import FaceError
from kd_face.index import GalleryIndex
from kd_face.recognition import identify

from .stand_ins import blocks, enrol, make_networks, png


def ask(home, networks, index=None):
    found = identify(home, index or GalleryIndex(home), networks, png(blocks(1, 1)), "a")
    return found[0].person and found[0].person[1]


@pytest.fixture
def gallery(home, networks):
    enrol(home, networks, 1, range(18))
    enrol(home, networks, 2, range(3))
    return home


def test_the_old_space_serves_until_the_new_one_is_complete(gallery, networks):
    other, index = make_networks("2"), GalleryIndex(gallery)
    steps = []
    for done, total in reembed.reembed(gallery, other.embedder, "test"):
        steps.append((done, total))
        assert ask(gallery, networks, index) == "p1"
        with pytest.raises(FaceError, match="Run: kdkit face reembed"):
            ask(gallery, other, index)
    assert steps == [(16, 21), (21, 21)]
    assert ask(gallery, other, index) == "p1"
    with pytest.raises(FaceError, match="is embedded by blocks 2"):
        ask(gallery, networks, index)


def test_a_stopped_run_resumes(gallery):
    other = make_networks("2")
    run = reembed.reembed(gallery, other.embedder, "test")
    next(run)
    run.close()
    calls = []
    embed = other.embedder.embed
    other.embedder.embed = lambda crops: calls.append(len(crops)) or embed(crops)
    assert list(reembed.reembed(gallery, other.embedder, "test")) == [(21, 21)] and calls == [5]


def test_pictures_that_come_and_go_meanwhile(gallery, networks):
    other = make_networks("2")
    run = reembed.reembed(gallery, other.embedder, "test")
    next(run)
    pictures.remove(gallery, 1, "test")
    pictures.remove(gallery, 20, "test")
    enrol(gallery, networks, 3, [0])
    list(run)
    with gallery.read() as session:
        for model in (1, 2):
            chosen = select(Embedding.picture_id).where(Embedding.model_id == model)
            assert set(session.scalars(chosen)) == {*range(2, 20), 21, 22}


def test_rolling_back(gallery, networks):
    with pytest.raises(FaceError, match="no earlier network"):
        reembed.roll_back(gallery, "test")
    other = make_networks("2")
    list(reembed.reembed(gallery, other.embedder, "test"))
    assert reembed.roll_back(gallery, "test") == 1
    assert ask(gallery, networks) == "p1"
    list(reembed.reembed(gallery, other.embedder, "test"))
    enrol(gallery, other, 3, [0])
    with pytest.raises(FaceError, match="1 pictures were added since"):
        reembed.roll_back(gallery, "test")
    list(reembed.reembed(gallery, networks.embedder, "test"))
    assert ask(gallery, networks) == "p1"


def test_forgetting_a_space(gallery, networks):
    list(reembed.reembed(gallery, make_networks("2").embedder, "test"))
    with pytest.raises(FaceError, match="in use"):
        reembed.forget(gallery, 2, "test")
    reembed.forget(gallery, 1, "test")
    with gallery.read() as session:
        assert set(session.scalars(select(Embedding.model_id))) == {2}
        assert settings.get(session, "active_model") == 2
    with pytest.raises(FaceError, match="no earlier network"):
        reembed.roll_back(gallery, "test")
