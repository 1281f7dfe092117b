"""Schema of the REST API: every operation answers as it says, whatever it is sent."""

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..stand_ins import enrol

NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**70])
TEXTS = st.text(min_size=1, max_size=8) | st.sampled_from(["%00", "\x00", "'", "{{7*7}}", "%"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner, max_size=2)
)
METHODS = ("get", "post", "patch", "delete", "put")


def operations(schema):
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def fields_of(schema, body):
    """Return the names of the fields of a body, and whether it is a form with a file."""
    ((kind, content),) = body["content"].items()
    named = schema["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return list(named["properties"]), kind == "multipart/form-data"


def request(draw, schema, method, path, operation):
    query = {}
    for one in operation.get("parameters", ()):
        value = draw(NUMBERS | TEXTS)
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", quote(str(value), safe=""))
        elif draw(st.booleans()):
            query[one["name"]] = value
    sent = {}
    if "requestBody" in operation:
        fields, is_form = fields_of(schema, operation["requestBody"])
        if is_form:
            sent["files"] = {"file": ("a", draw(st.binary(max_size=20)), "image/png")}
            sent["data"] = {one: str(draw(NUMBERS)) for one in fields if one != "file"}
        else:
            sent["json"] = {one: draw(ANYTHING) for one in fields if draw(st.booleans())}
    return {"method": method.upper(), "url": path, "params": query, **sent}


@pytest.fixture
def admin(client, home, networks):
    enrol(home, networks, 1, [0])
    return client("admin")


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(data=st.data())
def test_every_operation_answers_as_its_schema_says(admin, data):
    schema = admin.get("/api/v1/openapi.json").json()
    for method, path, operation in operations(schema):
        one = request(data.draw, schema, method, path, operation)
        answer = admin.request(**one)
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        assert str(answer.status_code) in operation["responses"], (one, answer.text)
        if answer.status_code != 204:
            assert kind in operation["responses"][str(answer.status_code)]["content"], one
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error"}, one


def test_what_one_needs_is_in_the_schema(client):
    schema = client().get("/api/v1/openapi.json").json()
    for method, path, operation in operations(schema):
        if path != "/api/v1/openapi.json":
            assert {"session": []} in operation["security"], (method, path)
            assert "Users: " in operation["description"] and "Keys: " in operation["description"]
    assert schema["paths"]["/api/v1/keys"]["post"]["security"] == [{"session": []}]


@pytest.mark.parametrize("body", [b'{"name": "\\ud800"}', b'{"name": "\\u0000"}', b"\xff", b"[]"])
def test_what_is_no_text_is_refused(client, body):
    headers = {"Content-Type": "application/json"}
    answer = client("operator").post("/api/v1/people", content=body, headers=headers)
    assert answer.status_code in (400, 422) and set(answer.json()) == {"error"}
