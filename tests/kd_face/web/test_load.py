"""Many clients at once on a real server: no errors, right answers, and all of it is stored."""

import json

from benchmarks.face.load import LoadSettings, describe, measure_load


def test_many_clients_at_once_meet_no_error():
    report = measure_load(LoadSettings(clients=32, seconds=4, networks="stand-ins"))
    assert report["problems"] == []
    statuses = {status for one in report["routes"].values() for status in one["statuses"]}
    assert statuses <= {"200", "201", "303", "429"}
    assert report["named"]["right"] > 0
    assert report["named"]["nobody"] == report["named"]["wrong"] == 0
    for route in ("POST /identify", "GET /people/N", "PATCH /people/N", "POST /recognize"):
        assert report["routes"][route]["requests"] > 0
    assert "POST /people/N/pictures" in describe(json.loads(json.dumps(report)))
