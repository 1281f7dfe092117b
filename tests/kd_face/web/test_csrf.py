"""Unsafe requests: whatever their form, they need the CSRF token and come from this site."""

import pytest

from .conftest import PASSWORD
from .gallery import image

FORMS = {
    "multipart": {"files": {"file": ("a.png", image(1))}},
    "multipart with fields": {"data": {"name": "x"}, "files": {"file": ("a.png", image(1))}},
    "form": {"data": {"name": "x"}},
    "JSON": {"json": {"name": "x"}},
    "text": {"content": b"csrf=", "headers": {"Content-Type": "text/plain"}},
    "htmx": {"data": {"name": "x"}, "headers": {"HX-Request": "true"}},
    "nothing": {},
}
PLACES = ("/people", "/imports", "/camera/frame", "/api/v1/people", "/api/v1/imports")


@pytest.mark.parametrize("form", FORMS)
def test_no_form_does_without_the_token(client, form):
    admin = client("admin")
    del admin.headers["X-CSRF-Token"]
    for place in PLACES:
        assert admin.post(place, **FORMS[form]).status_code == 403, place
        for method in ("PATCH", "DELETE"):
            answer = admin.request(method, "/api/v1/people/1", headers=FORMS[form].get("headers"))
            assert answer.status_code == 403


@pytest.mark.parametrize("form", ["multipart", "form", "htmx"])
def test_a_token_that_is_a_field_is_enough(client, form):
    admin = client("admin")
    token, sent = admin.headers.pop("X-CSRF-Token"), dict(FORMS[form])
    sent["data"] = {**sent.get("data", {}), "csrf": token}
    assert admin.post("/people", **sent).status_code in (303, 422)
    as_file = {"files": {"csrf": ("csrf", token.encode()), **sent.get("files", {})}}
    assert admin.post("/people", **as_file).status_code == 403  # a file is no field


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://faces.test"},
        {"Origin": "https://faces.test:444"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://faces.test", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_signs_nobody_in_and_changes_nothing(client, headers):
    form = {"name": "admin", "password": PASSWORD}
    answer = client().post("/login", data=form, headers=headers)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
    assert client("admin").post("/people", data=form, headers=headers).status_code == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_this_site_does(client, site):
    form = {"name": "admin", "password": PASSWORD}
    headers = {"Origin": "https://faces.test", "Sec-Fetch-Site": site}
    assert client().post("/login", data=form, headers=headers).status_code == 303
