"""Pages: every one of them for every role, what it shows, and that nothing in it is inline."""

import re

import pytest

from kd_face import people

from .gallery import NASTY, fill, image, keep_unknown, links

VIEWER = ("/", "/people", "/people/1", "/recognize", "/camera", "/account")
OPERATOR = ("/people/1/delete", "/imports", "/imports/progress", "/review", "/calibration")
ADMIN = ("/models", "/models/progress", "/users", "/keys", "/audit", "/audit.csv")
INLINE = re.compile(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)


@pytest.fixture
def gallery(app):
    web = app.state.web
    with web.home.write() as session:
        people.create(session, NASTY, "test")
    return fill(web.home, web.networks)


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_each_role_has_its_pages_and_only_links_to_them(client, gallery, role):
    caller = client(role)
    allowed = VIEWER + OPERATOR * (role != "viewer") + ADMIN * (role == "admin")
    seen = set()
    for path in VIEWER + OPERATOR + ADMIN:
        page = caller.get(path)
        assert page.status_code == (200 if path in allowed else 403), (path, page.text)
        if path in allowed and "html" in page.headers["Content-Type"]:
            assert not INLINE.search(page.text), path
            assert NASTY not in page.text
            seen |= {one.partition("?")[0] for one in links(page)}
    for path in sorted(one for one in seen if not one.startswith("/static/")):
        answer = caller.get(path)
        assert answer.status_code in (200, 405), path  # 405: only forms go there
    assert "/people" in seen


def test_a_name_is_text_wherever_it_stands(client, gallery):
    caller = client("admin")
    for path in ("/people", "/people/1", "/people/1/delete", f"/people?q={NASTY}", "/review"):
        page = caller.get(path)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in page.text or path == "/review"
        assert "<script>alert" not in page.text


def test_nobody_is_led_to_the_sign_in_and_back(client):
    answer = client().get("/people?q=a")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login?next=/people%3Fq%3Da"
    assert "Sign in" in client().get(answer.headers["Location"]).text
    part = client().get("/imports/progress", headers={"HX-Request": "true"})
    assert part.headers["HX-Redirect"] == "/login"


def test_an_error_is_a_page_with_a_way_back(client):
    caller = client("operator")
    page = caller.get("/people/99", headers={"Referer": "https://faces.test/people"})
    assert page.status_code == 404
    assert "there is no person 99" in page.text
    assert 'href="/people">Back' in page.text
    page = caller.get("/people/99", headers={"Referer": "https://faces.test//evil.test"})
    assert 'href="/">Back' in page.text


def test_the_first_page_says_what_is_next(client, app):
    caller = client("operator")
    assert "no picture yet" in caller.get("/").text
    web = app.state.web
    fill(web.home, web.networks)
    page = caller.get("/").text
    assert "not yet that of your gallery" in page
    assert "blocks" in page
    assert caller.post("/calibration", data={"threshold": "0.5"}).status_code == 303
    assert "not yet that of your gallery" not in caller.get("/").text


def test_an_unknown_notice_is_not_repeated(client):
    page = client("viewer").get("/people?done=<b>you won</b>").text
    assert "you won" not in page


def test_long_lists_have_pages(client, app):
    with app.state.web.home.write() as session:
        for number in range(30):
            people.create(session, f"person {number:02}", "test")
    caller = client("viewer")
    assert "Page 1 of 2" in caller.get("/people").text
    page = caller.get("/people?page=99").text
    assert "Page 2 of 2" in page
    assert "person 29" in page
    assert "person 01" not in page


def test_faces_that_wait_are_counted(client, app):
    web = app.state.web
    fill(web.home, web.networks)
    keep_unknown(web.home)
    caller = client("operator")
    caller.post("/recognize", files={"file": ("a.png", image(9))})
    assert '<a href="/review">1</a>' in caller.get("/").text
