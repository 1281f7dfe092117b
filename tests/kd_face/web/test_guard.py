"""Headers, size of bodies, names of the host, and errors that nobody has caught."""

import pytest

from kd_face.keys import SCOPES


def test_every_answer_has_the_headers(client):
    for path, status in [("/login", 200), ("/", 303), ("/no", 404), ("/static/style.css", 200)]:
        answer = client().get(path)
        assert answer.status_code == status
        policy = answer.headers["Content-Security-Policy"]
        assert {
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        } <= set(policy.split("; "))
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        for name in ("Referrer-Policy", "Cross-Origin-Opener-Policy"):
            assert answer.headers[name] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "camera=(self)" in answer.headers["Permissions-Policy"]
        assert answer.headers["Strict-Transport-Security"]
        stored = "no-cache" if path.startswith("/static") else "no-store"
        assert answer.headers["Cache-Control"] == stored


def test_an_error_is_answered_without_its_cause(app, client):
    @app.get("/api/v1/broken")
    @app.get("/broken")
    def broken():
        raise RuntimeError("secret of the inside")

    for path in ("/broken", "/api/v1/broken"):
        answer = client().get(path)
        assert answer.status_code == 500 and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "secret" not in answer.text and "Traceback" not in answer.text
    assert answer.json() == {"error": "the server has failed. Its log says why."}


def chunks(size):
    for _ in range(size // 1024):
        yield b"a" * 1024


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_stranger_sends_little(client, is_whole):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    content = b"a" * 70_000 if is_whole else chunks(70_000)
    assert client().post("/login", content=content, headers=form).status_code == 413


def test_nothing_is_read_of_what_is_declared_too_large(app, client):
    class Unread:
        def __iter__(self):
            raise AssertionError("was read")

    headers = {"Content-Length": str(10**12), "Content-Type": "application/x-www-form-urlencoded"}
    for one in (client(), client("admin"), client(scopes=["identify"])):
        answer = one.post("/login", content=b"x", headers=headers)
        assert answer.status_code == 413 and "at most" in answer.text


def test_a_known_caller_sends_an_image(client, networks):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    admin = client("admin")
    assert admin.post("/login", content=b"a" * 200_000, headers=form).status_code == 422
    over = networks.limits.max_bytes + 2**20 + 2048
    assert admin.post("/login", content=chunks(over), headers=form).status_code == 413


def test_a_zip_is_only_read_from_those_who_may_import(app, client, networks):
    """Whoever may not is refused before so much is written to the disk."""
    files = {"file": ("a.zip", bytes(networks.limits.max_bytes + 2**20 + 2048))}
    for one in ("operator", "viewer", "people:write", "metrics"):
        caller = client(scopes=[one]) if one in SCOPES else client(one)
        status = caller.post("/api/v1/imports", files=files).status_code
        assert (status == 413) == (one in ("viewer", "metrics")), (one, status)


def test_a_length_that_is_none_is_refused(client):
    for length in ("-1", "x", "+5", ""):
        answer = client().post("/login", content=b"", headers={"Content-Length": length})
        assert answer.status_code == 400


@pytest.mark.parametrize("host", ["evil.test", "faces.test.evil.test", "", "[", "127.0.0.1"])
def test_other_names_are_refused(client, host):
    assert client().get("/health", headers={"Host": host}).status_code == 400


def test_the_server_is_asked_by_its_name_and_any_port(client):
    for host in ("faces.test", "faces.test:8443", "FACES.TEST"):
        assert client().get("/health", headers={"Host": host}).status_code == 200
