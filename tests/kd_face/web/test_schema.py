"""Bodies of the REST API that are no text."""

import pytest


@pytest.mark.parametrize("body", [b'{"name": "\\ud800"}', b'{"name": "\\u0000"}', b"\xff", b"[]"])
def test_what_is_no_text_is_refused(client, body):
    headers = {"Content-Type": "application/json"}
    answer = client("operator").post("/api/v1/people", content=body, headers=headers)
    assert answer.status_code in (400, 422) and set(answer.json()) == {"error"}
