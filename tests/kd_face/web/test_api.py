"""REST API: people, pictures, recognition, unknown faces, networks, keys, audit log."""

import csv
import io
import re

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from kd_face import unknown_faces
from kd_face.audit_export import disarmed
from kd_face.database.models import Picture, UnknownFace
from kd_face.recognition import MARGIN

from ..stand_ins import blocks, enrol, png, undefended

API = "/api/v1"


def sent(pixels, name="face.png"):
    return {"file": (name, png(pixels), "image/png")}


@pytest.fixture
def operator(client):
    return client("operator")


def test_the_life_of_a_person(operator, app):
    ann = operator.post(f"{API}/people", json={"name": "Ann"})
    assert ann.status_code == 201 and ann.json()["name"] == "Ann" and ann.json()["pictures"] == 0
    place = f"{API}/people/{ann.json()['id']}"
    assert operator.post(f"{API}/people", json={"name": "Ann"}).status_code == 409
    assert operator.patch(place, json={"name": "Bea"}).json()["name"] == "Bea"
    assert operator.patch(place, json={"name": " "}).status_code == 422

    added = operator.post(f"{place}/pictures", files=sent(blocks(1), "../a/one.png"))
    assert added.status_code == 201 and added.json()["name"] == "one.png"
    again = operator.post(f"{place}/pictures", files=sent(blocks(1)))
    assert again.status_code == 409 and "same file already" in again.json()["error"]
    listed = operator.get(f"{place}/pictures").json()
    assert listed == {"pictures": [added.json()], "total": 1}
    assert operator.get(place).json()["pictures"] == 1

    assert operator.delete(place).json() == {"pictures": 1, "unknown_faces": 0}
    assert operator.get(place).status_code == 404
    assert not list(app.state.web.home.blobs)


def test_people_are_listed_by_pages(operator, home, networks):
    for number, name in enumerate(["Ann", "ann-lise", "Bob"]):
        enrol(home, networks, number, [0], name)
    page = operator.get(f"{API}/people", params={"search": "ANN", "limit": 1, "offset": 1}).json()
    assert page["total"] == 2 and [one["name"] for one in page["people"]] == ["ann-lise"]
    for wrong in ({"limit": 0}, {"limit": 201}, {"offset": -1}, {"offset": 2**40}):
        assert operator.get(f"{API}/people", params=wrong).status_code == 422


def test_two_people_are_merged(operator, home, networks):
    one, other = (enrol(home, networks, number, [0])[0] for number in (1, 2))
    merged = operator.post(f"{API}/people/{one}/merge", json={"into": other})
    assert merged.json()["id"] == other and merged.json()["pictures"] == 2
    assert operator.get(f"{API}/people/{one}").status_code == 404
    assert operator.post(f"{API}/people/{other}/merge", json={"into": other}).status_code == 422
    assert operator.post(f"{API}/people/{other}/merge", json={"into": one}).status_code == 404


def test_a_picture_is_served_without_metadata_and_deleted(operator, home, networks):
    with home.write() as session:
        from kd_face import people

        person = people.create(session, "Ann", "test").id
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    file = png(blocks(1), format="JPEG", exif=exif, quality=95)
    assert b"secret place" in file
    files = {"file": ("a.jpg", file, "text/html")}
    added = operator.post(f"{API}/people/{person}/pictures", files=files).json()
    image = operator.get(f"{API}/pictures/{added['id']}/image")
    assert image.headers["Content-Type"] == "image/jpeg" and image.content != file
    assert image.headers["Cache-Control"] == "no-store" and b"secret" not in image.content
    assert operator.delete(f"{API}/pictures/{added['id']}").status_code == 204
    assert operator.get(f"{API}/pictures/{added['id']}/image").status_code == 404
    assert operator.delete(f"{API}/pictures/{added['id']}").status_code == 404


def test_what_does_not_pass_is_refused_with_reasons(operator, home, networks):
    person, _ = enrol(home, networks, 1, [0])
    place = f"{API}/people/{person}/pictures"
    for pixels, reason in [
        (blocks(1) * 0, "no face"),
        (np.concatenate([blocks(1), blocks(2)], 1), "2 faces"),
        (blocks(1)[:40, :40], "too small"),
    ]:
        answer = operator.post(place, files=sent(pixels))
        assert answer.status_code == 422 and reason in answer.json()["error"]
    answer = operator.post(place, files={"file": ("a.gif", b"GIF89a", "image/gif")})
    assert answer.status_code == 422 and "JPEG, PNG" in answer.json()["error"]
    over = b"x" * (networks.limits.max_bytes + 10)
    answer = operator.post(place, files={"file": ("a.png", over, "image/png")})
    assert answer.status_code == 422 and "are accepted" in answer.json()["error"]


def test_faces_are_identified(operator, home, networks):
    _, (picture,) = enrol(home, networks, 1, [0], "Ann")
    enrol(home, networks, 2, [0], "Bob")
    both = np.concatenate([blocks(7), blocks(1, 1)], 1)
    unknown, known = operator.post(f"{API}/identify", files=sent(both)).json()["faces"]
    assert unknown["person"] is None and "below" in unknown["reason"] and unknown["nearest"]
    assert known["person"]["name"] == "Ann" and known["picture"] == picture
    assert known["box"] == [96, 0, 192, 96] and known["margin"] > MARGIN
    assert operator.post(f"{API}/identify", files=sent(blocks(1) * 0)).json() == {"faces": []}


@pytest.mark.parametrize("caller", [{"role": "viewer"}, {"scopes": ["identify", "verify"]}])
def test_scores_are_in_steps_for_those_who_need_no_more(client, home, networks, caller):
    person, _ = enrol(home, networks, 1, [0])
    enrol(home, networks, 2, [0])
    one = client(**caller)
    for pixels in (blocks(1, 1), blocks(7)):
        (face,) = one.post(f"{API}/identify", files=sent(pixels)).json()["faces"]
        assert round(face["similarity"] * 20, 6) % 1 == 0
        hidden = ("margin", "nearest", "picture", "reason")
        assert [face[name] for name in hidden] == [None] * 4
    answer = one.post(f"{API}/verify", files=sent(blocks(1, 1)), data={"person": person}).json()
    assert answer["accepted"] and round(answer["similarity"] * 20, 6) % 1 == 0


def test_a_face_is_verified(operator, home, networks):
    person, _ = enrol(home, networks, 1, [0])
    for pixels, expected in [(blocks(1, 1), True), (blocks(2), False)]:
        answer = operator.post(f"{API}/verify", files=sent(pixels), data={"person": person})
        assert answer.json()["accepted"] is expected
    answer = operator.post(f"{API}/verify", files=sent(blocks(1)), data={"person": 99})
    assert answer.status_code == 404


def test_an_empty_gallery_is_a_conflict(operator):
    answer = operator.post(f"{API}/identify", files=sent(blocks(1)))
    assert answer.status_code == 409 and "Import pictures first" in answer.json()["error"]


def test_unknown_faces_are_reviewed(operator, home, networks):
    enrol(home, networks, 1, [0])
    with home.write() as session:
        unknown_faces.set_days(session, 7, "test")
    for pixels in (blocks(1, 1), blocks(7), blocks(8)):
        operator.post(f"{API}/identify", files=sent(pixels))
    page = operator.get(f"{API}/unknown-faces").json()
    assert page["total"] == 2
    new, old = (one["id"] for one in page["faces"])
    image = operator.get(f"{API}/unknown-faces/{new}/image")
    assert Image.open(io.BytesIO(image.content)).format == "JPEG"
    given = operator.post(f"{API}/unknown-faces/{new}/assign", json={"name": " Cleo "})
    assert given.json()["name"] == "Cleo"
    (face,) = operator.post(f"{API}/identify", files=sent(blocks(8))).json()["faces"]
    assert face["person"] == given.json()
    assert operator.delete(f"{API}/unknown-faces/{old}").status_code == 204
    assert operator.delete(f"{API}/unknown-faces/{old}").status_code == 404
    assert operator.get(f"{API}/unknown-faces").json()["total"] == 0
    with home.read() as session:
        assert not session.query(UnknownFace).count() and session.query(Picture).count() == 2


def test_networks_rule_and_calibration(operator, home, networks):
    for person in (1, 2, 3):
        enrol(home, networks, person, [0, 1])
    (model,) = operator.get(f"{API}/models").json()
    assert model["name"] == "blocks" and model["dim"] == 64 and model["is_active"]
    assert operator.get(f"{API}/rule").json() == {"threshold": 0.9, "margin": MARGIN}
    found = operator.get(f"{API}/calibration", params={"far": 0.1}).json()
    assert found["people"] == 3 and found["pictures"] == 6 and found["frr"]["value"] == 0
    assert found["rank_1"]["total"] == 6 and found["warnings"]
    assert operator.get(f"{API}/calibration", params={"far": 1}).status_code == 422


def test_keys_are_made_shown_once_and_revoked(client):
    admin = client("admin")
    made = admin.post(f"{API}/keys", json={"name": "door", "scopes": ["people:read"]}).json()["key"]
    header = {"Authorization": f"Bearer {made}"}
    assert client().get(f"{API}/people", headers=header).status_code == 200
    (listed,) = admin.get(f"{API}/keys").json()
    assert listed["scopes"] == ["people:read"] and listed["prefix"] in made
    assert made.split("_", 2)[2] not in admin.get(f"{API}/keys").text
    assert admin.delete(f"{API}/keys/{listed['prefix']}").status_code == 204
    assert admin.delete(f"{API}/keys/{listed['prefix']}").status_code == 404
    assert client().get(f"{API}/people", headers=header).status_code == 401
    answer = admin.post(f"{API}/keys", json={"name": "x", "scopes": ["root"]})
    assert answer.status_code == 422 and "root" in answer.json()["error"]


def test_the_audit_log_is_read_and_verified(client, home):
    admin = client("admin")
    for name in ("Ann", "Bob"):
        admin.post(f"{API}/people", json={"name": name})
    newest, before = admin.get(f"{API}/audit", params={"limit": 2}).json()
    assert newest["action"] == before["action"] == "person.create" and newest["actor"] == "admin"
    older = admin.get(f"{API}/audit", params={"before": before["id"], "limit": 1}).json()
    assert older[0]["id"] == before["id"] - 1 and "Ann" not in str(older)
    head = admin.get(f"{API}/audit/head").json()
    assert head == {"entries": newest["id"], "head": newest["hash"]}
    with undefended(home) as session:
        session.execute(text("UPDATE audit_entry SET actor = 'bob' WHERE id = 2"))
    answer = admin.get(f"{API}/audit/head")
    assert answer.status_code == 409 and "entry 2" in answer.json()["error"]


def test_the_audit_log_as_csv_has_no_formula(client, home):
    from kd_face import audit

    with home.write() as session:
        audit.append(session, "=HYPERLINK()", "+test", {"a": "x,\n-1"})
    answer = client("admin").get(f"{API}/audit.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    (row,) = (one for one in rows if "HYPERLINK" in one[2])
    assert head[2] == "actor" and row[2] == "'=HYPERLINK()" and row[3] == "'+test"
    assert not any(re.match(r"[=+\-@\t\r\n]", cell) for one in rows for cell in one)


def test_cells_are_disarmed():
    for cell in ("=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1"):
        assert disarmed(cell) == f"'{cell}"
    for cell in ("a=1", "", 7, "2026-01-01"):
        assert disarmed(cell) == str(cell)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "{{7*7}}", "'; DROP TABLE person"])
def test_names_are_data(operator, name):
    made = operator.post(f"{API}/people", json={"name": name})
    assert made.json()["name"] == name
    assert operator.get(f"{API}/people", params={"search": name}).json()["total"] == 1


def test_wrong_bodies_are_named_without_what_was_sent(operator):
    answer = operator.post(f"{API}/people", json={"name": ["secret"]})
    assert answer.status_code == 422 and "secret" not in answer.text and "name" in answer.text
    answer = operator.post(
        f"{API}/people", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422


def test_a_key_that_asks_too_often_waits(client, app):
    from kd_face.web.throttle import Throttle

    app.state.web.keys = Throttle(3, 60)
    one, other = client(scopes=["people:read"]), client(scopes=["people:read"])
    found = [one.get(f"{API}/people") for _ in range(5)]
    assert [answer.status_code for answer in found] == [200] * 3 + [429] * 2
    assert 1 <= int(found[-1].headers["Retry-After"]) <= 20
    assert other.get(f"{API}/people").status_code == 200
