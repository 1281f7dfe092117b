"""Processes that are killed at any moment lose nothing that they have reported."""

import multiprocessing
import os
import random
import time
import zipfile

import pytest
from sqlalchemy import select

from kd_face import audit, pictures, reembed, settings, spaces
from kd_face.backup import _check, back_up, restore
from kd_face.database.models import Embedding, Person, Picture
from kd_face.images import read_image
from kd_face.index import GalleryIndex
from kd_face.recognition import identify

from . import killed
from .stand_ins import blocks, enrol, make_networks, png

KILLS = 3


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([killed.__name__])
    return context


def run(processes, function, *arguments, kill_after=None):
    """Run a function; return what it reported before its end, or before it was killed.

    Args:
        kill_after: Number of reports after which it is killed, and seconds more.
    """
    receiver, sender = processes.Pipe(duplex=False)
    process = processes.Process(target=function, args=(sender, *arguments))
    process.start()
    sender.close()
    reports = []
    try:
        while True:
            if kill_after and len(reports) == kill_after[0]:
                time.sleep(kill_after[1])
                process.kill()
                kill_after = None
            reports.append(receiver.recv())
    except EOFError:
        process.join()
    return reports


def of(home):
    return home.folder, os.environ.get("KD_FACE_DATABASE")


def check_whole(home, acknowledged=()):
    """Require that rows, blobs, index and audit log belong together."""
    with home.read() as session:
        audit.verify(session)
        rows = session.scalars(select(Picture)).all()
        assert len(set(acknowledged)) <= len(rows)
        model = settings.get(session, spaces.ACTIVE)
        chosen = select(Embedding.picture_id).where(Embedding.model_id == model)
        assert set(session.scalars(chosen)) == {one.id for one in rows}
        owners = {one.person_id for one in rows}
        assert set(session.scalars(select(Person.id))) == owners  # nobody without a picture
        index = GalleryIndex(home)
        index.refresh(session)
        assert index._ids == {one.id for one in rows}
    for name in home.blobs:  # under a final name nothing is half written
        assert read_image(home.blobs.read(name), name).shape == (96, 96, 3)
    assert {one.blob for one in rows} <= set(home.blobs)
    index.save()


def test_import(home, processes, tmp_path):
    chosen = random.Random(1)
    for person in range(3):
        (tmp_path / "faces" / f"p{person}").mkdir(parents=True)
        for number in range(6):
            picture = png(blocks(person, number))
            (tmp_path / "faces" / f"p{person}" / f"{number}.png").write_bytes(picture)
    stored = set()
    for _ in range(KILLS):
        moment = chosen.randrange(5), chosen.uniform(0, 0.06)
        work = killed.import_people, of(home), tmp_path / "faces"
        found = run(
            processes, *work, kill_after=(len(stored) and len(stored) + moment[0], moment[1])
        )
        stored |= {one[0] for one in found if one is not None}
        check_whole(home, stored)
    found = run(processes, *work)
    assert found[-1] is None and {outcome for _, outcome in found[:-1]} <= {"added", "known"}
    check_whole(home)
    with home.read() as session:
        assert len(session.scalars(select(Picture.id)).all()) == 18
        home.blobs.sweep(pictures.named_blobs(session), min_age=-1)
    assert len(list(home.blobs)) == 18


def test_reembedding(home, processes):
    chosen = random.Random(2)
    enrol(home, make_networks(), 1, range(20))
    enrol(home, make_networks(), 2, range(20))
    most = 0
    for _ in range(KILLS):
        work = killed.reembed_gallery, of(home), "2"
        found = run(processes, *work, kill_after=(chosen.randrange(2), chosen.uniform(0, 0.2)))
        most = max([most, *(one for one in found if one is not None)])
        with home.read() as session:
            there = session.scalars(select(Embedding.id).where(Embedding.model_id == 2)).all()
        assert most <= len(there) <= 40
        check_whole(home)
    assert run(processes, *work)[-1] is None
    check_whole(home)
    found = identify(home, GalleryIndex(home), make_networks("2"), png(blocks(1)), "a")
    assert found[0].person[1] == "p1"
    assert reembed.roll_back(home, "test") == 1


def test_backup(home, new_home, processes, tmp_path):
    chosen, out = random.Random(3), tmp_path / "a.zip"
    enrol(home, make_networks(), 1, range(20))
    back_up(home, out)
    enrol(home, make_networks(), 2, range(20))
    for _ in range(KILLS):
        run(processes, killed.back_up, of(home), out, kill_after=(1, chosen.uniform(0, 0.1)))
        with zipfile.ZipFile(out) as archive:
            _check(archive, out)
    assert run(processes, killed.back_up, of(home), out)[-1] is None
    assert [one.name for one in home.folder.glob(".backup*")] == []  # what the killed ones left
    new = new_home(tmp_path / "new")
    assert restore(new, out, "test")[1] == 40
    check_whole(new)
