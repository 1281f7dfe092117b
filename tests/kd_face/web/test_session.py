"""Sign-in, session cookie, CSRF, throttle of sign-ins."""

import pytest
from sqlalchemy import text

from kd_face import users
from kd_face.web.signin import WRONG, local_path

from .conftest import PASSWORD


def sign_in(client, name="admin", password=PASSWORD, **fields):
    return client.post("/login", data={"name": name, "password": password, **fields})


def test_a_sign_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(client):
    answer = sign_in(client(), next="/people?page=2")
    assert answer.status_code == 303 and answer.headers["Location"] == "/people?page=2"
    name, *rest = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("__Host-kd_face=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(rest)
    assert not any(one.startswith("Domain") for one in rest)


def test_it_is_new_at_each_sign_in_and_the_old_one_ends(client, app):
    first = client("admin")
    name = app.state.web.options.cookie
    old = first.cookies[name]
    sign_in(first)
    assert first.cookies[name] != old
    assert first.get("/").status_code == 200
    stale = client()
    stale.cookies.set(name, old)
    assert stale.get("/").status_code == 303


def test_signing_out_ends_it(client, app):
    admin = client("admin")
    token = admin.cookies[app.state.web.options.cookie]
    assert admin.post("/logout").headers["Location"] == "/login"
    assert not admin.cookies
    admin.cookies.set(app.state.web.options.cookie, token)
    assert admin.get("/").headers["Location"] == "/login?next=/"


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({}, {}, 403),
        ({"X-CSRF-Token": "wrong"}, {}, 403),
        ({"X-CSRF-Token": ""}, {}, 403),
        ({}, {"csrf": "wrong"}, 403),
        ({}, {"csrf": None}, 303),
        ({"X-CSRF-Token": None}, {}, 303),
        ({"X-CSRF-Token": None, "Origin": "https://evil.test"}, {}, 403),
        ({"X-CSRF-Token": None, "Origin": "null"}, {}, 403),
        ({"X-CSRF-Token": None, "Origin": "https://faces.test"}, {}, 303),
    ],
)
def test_unsafe_requests_need_the_csrf_token(client, headers, fields, status):
    """None stands for the right token."""
    admin = client("admin")
    right = admin.headers.pop("X-CSRF-Token")
    headers = {name: right if value is None else value for name, value in headers.items()}
    fields = {name: right if value is None else value for name, value in fields.items()}
    assert admin.post("/logout", data=fields, headers=headers).status_code == status
    if status == 403:
        assert admin.get("/").status_code == 200


def test_the_token_of_another_session_does_not_do(client):
    one, other = client("admin"), client("operator")
    one.headers["X-CSRF-Token"] = other.headers["X-CSRF-Token"]
    assert one.post("/logout").status_code == 403


def test_another_site_cannot_sign_anybody_in(client):
    answer = client().post(
        "/login",
        data={"name": "admin", "password": PASSWORD},
        headers={"Origin": "https://evil.test"},
    )
    assert answer.status_code == 403 and "Set-Cookie" not in answer.headers


def test_unknown_disabled_and_wrong_are_answered_alike(client, app):
    with app.state.web.home.write() as session:
        users.disable(session, "viewer", "test")
    pages = []
    for name, password in [("admin", "wrong"), ("viewer", PASSWORD), ("nobody", PASSWORD)]:
        answer = sign_in(client(), name, password)
        assert answer.status_code == 401 and "Set-Cookie" not in answer.headers
        assert answer.text.count(f'value="{name}"') == 1
        pages.append(answer.text.replace(f'value="{name}"', ""))
    assert len(set(pages)) == 1 and WRONG in pages[0]


def test_the_first_sign_in_hashes_as_often_for_an_unknown_user(client, monkeypatch):
    """The stand-in for the hash of nobody is made for either."""
    counts = []
    for name in ("admin", "nobody"):
        users._nobody.cache_clear()
        asked = []
        hasher = users._HASHER

        class Counted:
            def hash(self, word, hasher=hasher, asked=asked):
                asked.append("hash")
                return hasher.hash(word)

            def verify(self, stored, word, hasher=hasher, asked=asked):
                asked.append("verify")
                return hasher.verify(stored, word)

        with monkeypatch.context() as patch:
            patch.setattr(users, "_HASHER", Counted())
            sign_in(client(), name, "wrong password")
        counts.append(asked)
    assert counts == [["hash", "verify"]] * 2


def test_tries_are_throttled_for_known_and_unknown_alike(client):
    for name in ("admin", "nobody"):
        found = [sign_in(client(), name, "wrong").status_code for _ in range(12)]
        assert found == [401] * 10 + [429] * 2
    answer = sign_in(client())
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
    assert sign_in(client(), "operator").status_code == 303


def test_an_address_is_throttled_over_all_accounts(client):
    found = [sign_in(client(), f"user{number}", "wrong").status_code for number in range(52)]
    assert found == [401] * 50 + [429] * 2


def test_right_passwords_are_not_counted(client):
    form = {"old": PASSWORD, "new": "short"}
    for _ in range(60):
        viewer = client("viewer")
        assert viewer.post("/account", data=form).status_code == 422
    assert sign_in(client(), password="wrong").status_code == 401


def test_a_right_password_clears_the_tries_of_the_account(client):
    for _ in range(3):
        for _ in range(9):
            sign_in(client(), password="wrong")
        assert sign_in(client()).status_code == 303


def test_a_disabled_user_is_out_at_once(client, app):
    viewer = client("viewer")
    with app.state.web.home.write() as session:
        users.disable(session, "viewer", "test")
    assert viewer.get("/").status_code == 303


def test_names_are_shown_as_text(client):
    for name in ("<script>alert(1)</script>", "{{7*7}}", "'\"><img src=x>"):
        page = sign_in(client(), name, "wrong").text
        assert "<script>" not in page and "49" not in page and "<img" not in page


def test_only_paths_of_this_server_are_gone_to():
    for path in ("/", "/people?a=b"):
        assert local_path(path) == path
    for path in ("//evil.test", "https://evil.test", "/\\evil.test", "", "/a\r\nb", "people"):
        assert local_path(path) == "/"


def test_the_token_is_not_in_the_database(client, app):
    token = client("admin").cookies[app.state.web.options.cookie]
    with app.state.web.home.read() as session:
        stored = session.execute(text("SELECT token_hash FROM login_session")).scalars().all()
    assert stored and token not in stored
