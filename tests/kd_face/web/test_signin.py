"""Sign-in: what is counted for whom, and where one goes to afterwards."""

import pytest
from starlette.testclient import TestClient

from kd_face import users

from .conftest import PASSWORD


@pytest.fixture
def sign_in(app):
    """Sign in from an address, and return the answer."""

    def post(name, password, address="10.0.0.1", **fields):
        client = TestClient(app, "https://faces.test", client=(address, 5), follow_redirects=False)
        return client.post("/login", data={"name": name, "password": password, **fields})

    return post


def test_an_account_is_throttled_over_all_addresses(sign_in):
    found = [sign_in("admin", "wrong", f"10.0.0.{number // 5}").status_code for number in range(51)]
    assert found == [401] * 50 + [429]
    assert sign_in("operator", PASSWORD, "10.0.0.0").status_code == 303


def test_capital_letters_are_no_further_account(sign_in):
    names = ["admin", "Admin", "ADMIN", "aDmin"] * 3
    found = [sign_in(name, "wrong").status_code for name in names]
    assert found == [401] * 10 + [429] * 2


@pytest.mark.parametrize("target", ["//evil.test", "https://evil.test", "/\\evil.test", "/\t/evil"])
def test_a_sign_in_leads_to_no_other_site(app, sign_in, target):
    assert sign_in("admin", PASSWORD, next=target).headers["Location"] == "/"
    for answer in (
        TestClient(app, "https://faces.test").get("/login", params={"next": target}),
        sign_in("admin", "wrong", next=target),
    ):
        assert 'name="next" value="/"' in answer.text


def test_a_disabled_user_is_hashed_for_as_well(home, app, monkeypatch):
    with home.write() as session:
        users.disable(session, "viewer", "test")
    asked, matches = [], users._matches
    monkeypatch.setattr(users, "_matches", lambda *pair: asked.append(pair) or matches(*pair))
    for name in ("admin", "viewer", "nobody", "no user's name"):
        assert users.authenticate(home, name, "wrong password") is None
    assert len(asked) == 4


def test_tries_of_ones_own_old_password_are_counted(client):
    viewer = client("viewer")
    form = {"old": "wrong", "new": "a new password"}
    found = [viewer.post("/account", data=form).status_code for _ in range(51)]
    assert found == [422] * 50 + [429]
