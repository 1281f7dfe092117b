"""Index: whatever happened to the gallery, search equals brute force."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from kd_face import erasure, people, pictures, spaces
from kd_face import settings as stored
from kd_face.database.models import Embedding, Person, Picture, from_bytes, to_bytes
from kd_face.home import now
from kd_face.index import GalleryIndex

from .stand_ins import blocks, enrol

DIM = 8


def row(seed):
    drawn = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return drawn / np.linalg.norm(drawn)


class Small:
    """Network of the property test, whose rows are drawn."""

    name, version, dim, threshold = "small", "1", DIM, 0.5


def insert(home, person, seed):
    with home.write() as session:
        model = spaces.register(session, Small(), "test")
        if session.get(Person, person) is None:
            session.add(Person(id=person, name=str(person), created_at=now()))
            session.flush()
        picture = Picture(
            person_id=person,
            blob=f"{seed:032x}",
            sha256=f"{seed:064x}",
            name="x",
            face="{}",
            created_at=now(),
        )
        session.add(picture)
        session.flush()
        session.add(Embedding(picture_id=picture.id, model_id=model, vector=to_bytes(row(seed))))
        stored.count_change(session)


def brute_force(session, query):
    found = session.execute(select(Embedding.picture_id, Embedding.vector)).all()
    pairs = [(one, float(from_bytes(vector) @ query)) for one, vector in found]
    return sorted(pairs, key=lambda pair: -pair[1])


def check(home, index, seed=12345):
    with home.read() as session:
        expected = brute_force(session, row(seed))
        found = index.search(session, row(seed), 5)
    assert [one for one, _ in found] == [one for one, _ in expected[:5]]
    assert np.allclose([v for _, v in found], [v for _, v in expected[:5]], atol=1e-6)
    assert len(index) == len(expected)


NAMES = st.sampled_from(["add", "delete", "erase", "merge", "rebuild", "reopen"])
ACTIONS = st.lists(st.tuples(NAMES, st.integers(0, 9)), min_size=1, max_size=14)


@pytest.mark.parametrize("exact", [200_000, 3])
def test_search_equals_brute_force_after_any_sequence(
    tmp_path_factory, new_home, monkeypatch, exact
):
    monkeypatch.setattr("kd_face.index._PROBES", 10**6)  # all lists: exact
    monkeypatch.setattr("kd_face.index._EACH", 1)  # several lists for a few rows
    seeds = iter(range(10**6))

    @settings(
        max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(ACTIONS)
    def run(actions):
        home = new_home(tmp_path_factory.mktemp("home"))
        index = GalleryIndex(home, exact)
        for action, number in [("add", 1), ("add", 2), *actions]:
            act(home, index, action, number, next(seeds))
            if action == "reopen":
                index.save()
                index = GalleryIndex(home, exact)
            check(home, index)

    run()


def act(home, index, action, number, seed):
    with home.read() as session:
        ids = session.scalars(select(Picture.id).order_by(Picture.id)).all()
        persons = session.scalars(select(Person.id).order_by(Person.id)).all()
        if action == "rebuild":
            index.rebuild(session)
    if action == "add":
        insert(home, number % 4 + 1, seed)
    if action == "delete" and ids:
        pictures.remove(home, ids[number % len(ids)], "test")
    if action == "erase" and persons:
        erasure.erase(home, persons[number % len(persons)], "test")
    if action == "merge" and len(persons) > 1:
        people.merge(home, persons[0], persons[-1], "test")


def test_a_kept_index_is_used_and_a_damaged_one_is_not(home, networks, monkeypatch):
    _, (first, _) = enrol(home, networks, 1, [0, 1])
    (query,) = networks.embedder.embed([blocks(1)])
    index = GalleryIndex(home)
    with home.read() as session:
        assert index.search(session, query, 1)[0][0] == first
        index.save()
        again = GalleryIndex(home)
        monkeypatch.setattr(again, "rebuild", lambda _: pytest.fail("built anew"))
        assert again.search(session, query, 1)[0][0] == first
        for name in ("index.faiss", "index.json"):
            path = home.folder / name
            content = path.read_bytes()
            path.write_bytes(content[:-9] + b"x" * 9)
            assert GalleryIndex(home).search(session, query, 1)[0][0] == first
            path.write_bytes(content)
            assert path.stat().st_mode & 0o077 == 0
        about = json.loads((home.folder / "index.json").read_text())
        assert about["count"] == 2 and about["change"] == 2


def test_an_empty_gallery_and_a_row_of_another_length(home, networks):
    index = GalleryIndex(home)
    with home.read() as session:
        assert index.search(session, np.ones(64, np.float32), 3) == []
    enrol(home, networks, 1, [0])
    with home.read() as session, pytest.raises(ValueError, match="must have 64 numbers"):
        index.search(session, np.ones(5, np.float32), 3)


def test_a_deletion_leaves_inverted_lists_as_they_are(home, monkeypatch):
    monkeypatch.setattr("kd_face.index._EACH", 1)
    for seed in range(8):
        insert(home, 1, seed)
    index = GalleryIndex(home, exact=3)
    check(home, index)
    monkeypatch.setattr(index, "_rebuild", lambda _: pytest.fail("built anew"))
    with home.read() as session:
        chosen = session.scalars(select(Picture.id)).all()[2]
    pictures.remove(home, chosen, "test")
    with home.read() as session:
        found = index.search(session, row(2), 8)
    assert len(found) == 7 and chosen not in [one for one, _ in found]
