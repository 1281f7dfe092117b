"""Access to every route by every kind of caller; a route that is not in the table fails."""

import re

import pytest
from fastapi.routing import APIRoute

from kd_face import keys, users
from kd_face.web.access import rule_of

from .route_table import ROUTES


def routes_of(app):
    """Yield method and path of every route of an application, and the rule as the table has it."""
    for route in app.routes:
        if isinstance(route, APIRoute):
            rule = rule_of(route)
            words = f"{rule.role or '-'} {rule.scope or ''}".strip()
            for method in route.methods:
                yield f"{method} {route.path}", words
        else:
            yield f"GET {route.path}", "-"


def test_the_table_has_every_route_and_its_rule(app):
    assert dict(routes_of(app)) == ROUTES


def test_a_route_without_a_rule_or_with_two_is_found(app):
    @app.get("/forgotten")
    def forgotten(): ...

    with pytest.raises(ValueError, match="/forgotten must have one rule of access, but it has 0"):
        dict(routes_of(app))


def is_allowed(words, role, scopes):
    """Return whether the table lets a role, or a key with scopes, call a route."""
    if words == "-":
        return True
    least, _, scope = words.partition(" ")
    return users.allows(role, least) if role else scope in scopes and bool(scope)


def call(client, route):
    method, path = route.split(" ")
    answer = client.request(method, re.sub(r"\{\w+\}", "999", path))
    to_login = answer.headers.get("Location", "").startswith("/login?")
    return 401 if answer.status_code == 303 and to_login else answer.status_code


@pytest.mark.parametrize("role", users.ROLES)
def test_each_role_at_each_route(client, role):
    one = client(role)
    for route, words in sorted(ROUTES.items()):
        if route == "POST /logout":
            continue  # it would end the session; see test_session.py
        expected = is_allowed(words, role, ())
        assert (call(one, route) not in (401, 403)) == expected, route
    assert one.get("/").status_code == 200


@pytest.mark.parametrize("scope", [*keys.SCOPES, "all others"])
def test_a_key_at_each_route(client, scope):
    scopes = [scope] if scope in keys.SCOPES else keys.SCOPES
    one = client(scopes=scopes)
    for route, words in sorted(ROUTES.items()):
        expected = is_allowed(words, None, scopes)
        status = call(one, route)
        assert (status not in (401, 403)) == expected, (route, status)


def test_an_id_that_no_database_has_is_no_failure(client):
    """SQLite and PostgreSQL have integers of 64 and 32 bits."""
    one = client("admin")
    for route in (one for one in ROUTES if "_id}" in one):
        method, path = route.split(" ")
        for number in (2**31, 10**20, -1):
            place = re.sub(r"\{\w+\}", str(number), path)
            assert one.request(method, place).status_code in (404, 422), (route, number)


def test_nobody_at_each_route(client):
    one = client()
    for route, words in sorted(ROUTES.items()):
        expected = words == "-"
        status = call(one, route)
        assert (status != 401) == expected or "login" in route, (route, status)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT"])
def test_other_methods_tell_nothing(client, method):
    for one in (client(), client("admin")):
        for route in ROUTES.keys() - {"GET /static"}:
            path = re.sub(r"\{\w+\}", "1", route.split(" ")[1])
            answer = one.request(method, path)
            assert answer.status_code in (404, 405), (method, route)
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer kdf_00000000_x", "Basic YTpi", "", "x"])
def test_a_wrong_key_is_nobody_even_with_a_session(client, header):
    one = client("admin")
    one.headers["Authorization"] = header
    answer = one.get("/api/v1/people")
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_unsafe_route_needs_the_csrf_token(client):
    one = client("admin")
    del one.headers["X-CSRF-Token"]
    for route, words in ROUTES.items():
        if words != "-" and not route.startswith("GET "):
            assert call(one, route) == 403, route


def test_a_revoked_key_is_nobody(client, app):
    one = client(scopes=["people:read"])
    assert one.get("/api/v1/people").status_code == 200
    with app.state.web.home.write() as session:
        prefix = one.headers["Authorization"].split("_")[1]
        keys.revoke(session, prefix, "test")
    assert one.get("/api/v1/people").status_code == 401


def test_pages_send_to_the_sign_in_and_back(client):
    answer = client().get("/?page=2")
    assert answer.status_code == 303 and answer.headers["Location"] == "/login?next=/%3Fpage%3D2"
    answer = client().get("/", headers={"HX-Request": "true"})
    assert answer.status_code == 204 and answer.headers["HX-Redirect"] == "/login"
