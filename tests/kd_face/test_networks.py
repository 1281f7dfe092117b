"""The network by setting: it changes with the space in use, in one transaction."""

import pytest

from kd_face import networks, settings, spaces

from .stand_ins import enrol, make_networks

STUDENT = ["config.py", "student.pth"]


@pytest.fixture
def gallery(home, monkeypatch):
    made = {None: make_networks("1").embedder, tuple(STUDENT): make_networks("2").embedder}
    monkeypatch.setattr(networks, "embedder_of", made.__getitem__)
    enrol(home, make_networks("1"), 1, range(2))
    return home


def state(home):
    with home.read() as session:
        return settings.get(session, spaces.ACTIVE), settings.get(session, networks.STUDENT)


def test_there_and_back(gallery):
    assert state(gallery) == (1, None)
    assert list(networks.switch(gallery, tuple(STUDENT), "test")) == [(2, 2)]
    assert state(gallery) == (2, STUDENT)
    networks.switch_back(gallery, "test")
    assert state(gallery) == (1, None)
    networks.switch_back(gallery, "test")
    assert state(gallery) == (2, STUDENT)


@pytest.mark.parametrize("back", [False, True])
def test_setting_and_space_change_together_or_not_at_all(gallery, monkeypatch, back):
    if back:
        list(networks.switch(gallery, tuple(STUDENT), "test"))
    before, put = state(gallery), settings.put

    def broken(session, key, value):
        if key == networks.STUDENT:
            raise OSError("disk full")
        put(session, key, value)

    monkeypatch.setattr(settings, "put", broken)
    with pytest.raises(OSError, match="disk full"):
        if back:
            networks.switch_back(gallery, "test")
        else:
            list(networks.switch(gallery, tuple(STUDENT), "test"))
    assert state(gallery) == before
