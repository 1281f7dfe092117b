"""Pages of recognition, calibration, models, users, keys and the audit log."""

import csv
import io
import re
import threading

import numpy as np
import pytest

from kd_face import audit, reembed, settings, users
from kd_face import networks as known_networks
from kd_face.audit_export import disarmed
from kd_face.recognition import calibrated_rule
from kd_face.web.following import keep_following
from kd_face.web.pages.recognize import Shown

from ..stand_ins import BlockEmbedder, blocks, png
from .browser import wait
from .gallery import NASTY, fill, image
from .test_pages_people import ended, went_to

LIVENESS = "There is no liveness detection"


@pytest.fixture
def web(app):
    web = app.state.web
    fill(web.home, web.networks)
    return web


def test_faces_are_drawn_with_who_and_why(client, web):
    both = png(np.concatenate([blocks(1, 5), blocks(9)], 1))
    operator = client("operator")
    page = operator.post("/recognize", files={"file": ("<i>.png", both)}).text
    assert LIVENESS in page
    assert "&lt;i&gt;.png: 2 faces" in page
    assert page.count("<rect class=") == 2
    assert re.search(r'<text class="box-label"[^>]*>1 p1</text>', page)
    assert re.search(r'<text class="box-label"[^>]*>2 unknown</text>', page)
    assert "threshold 0.900" in page
    assert "nearest is p" in page
    assert 'src="data:image/jpeg;base64,' in page
    viewer = client("viewer").post("/recognize", files={"file": ("a.png", both)}).text
    (about,) = re.findall(r"similarity about (\d\.\d+)", viewer)
    assert round(float(about) * 20, 6) % 1 == 0
    assert viewer.count("/face") == 1  # the picture of the person alone, not one near the stranger
    assert "threshold 0.900" not in viewer
    assert "nearest is" not in viewer


@pytest.mark.parametrize(
    ("name", "width", "is_alone", "label"),
    [
        ("Anna", 20, True, "2 Anna"),
        ("Anna", 100, False, "2 Anna"),
        ("Anna-Lena", 60, False, "2 Anna-…"),
        ("Anna-Lena", 40, False, "2"),
        ("A" * 30, 900, False, f"2 {'A' * 23}…"),
    ],
)
def test_a_label_is_not_wider_than_its_box_among_others(name, width, is_alone, label):
    shown = Shown(2, (0, 0, width, 50), name, 1, "", None, "")
    assert shown.label(size=11, is_alone=is_alone) == label


def test_an_image_that_is_none_is_named(client, web):
    page = client("viewer").post("/recognize", files={"file": ("a.png", b"text")})
    assert page.status_code == 422
    assert "must be a JPEG" in page.text
    page = client("viewer").post("/recognize", files={"file": ("a.png", png(blocks(1) * 0))})
    assert "No face was found" in page.text


def test_a_frame_of_the_camera_is_answered_by_a_part_of_the_page(client, web):
    viewer = client("viewer")
    page = viewer.get("/camera").text
    assert LIVENESS in page
    assert "<noscript>" in page
    part = viewer.post("/camera/frame", files={"file": ("camera.jpg", image(1, 5))}).text
    assert "<html" not in part
    assert "p1" in part
    assert 'viewBox="0 0 96 96"' in part
    assert "must be a JPEG" in viewer.post("/camera/frame", files={"file": ("a", b"x")}).text


def test_the_threshold_for_a_wanted_far_is_shown_and_set(client, web):
    operator = client("operator")
    page = operator.get("/calibration?far=0.1").text
    for text in ("There are 3 people", "more pictures of each person", "Strangers accepted", "EER"):
        assert text in page
    assert page.count("<svg class=") == 3
    assert page.count("<polyline") == 4
    assert "Networks side by side" not in page
    threshold = re.search(r'name="threshold"[^>]* value="([\d.]+)"', page).group(1)
    form = {"threshold": threshold, "margin": "0.03"}
    went_to(operator.post("/calibration", data=form), "/calibration?done=rule")
    with web.home.read() as session:
        rule = calibrated_rule(session)
    assert (rule.threshold, rule.margin) == (float(threshold), 0.03)
    assert "is in use" in operator.get("/calibration?done=rule").text
    assert operator.post("/calibration", data={"threshold": "5"}).status_code == 422
    assert operator.post("/calibration", data={"threshold": "nan"}).status_code == 422
    assert operator.get("/calibration?far=1").status_code == 422
    assert client("viewer").post("/calibration", data=form).status_code == 403


def test_too_few_pictures_are_said_to_be(client, app):
    assert "no picture yet" in client("operator").get("/calibration").text
    fill(app.state.web.home, app.state.web.networks, people=1)
    page = client("operator").get("/calibration")
    assert page.status_code == 200
    assert "At least two people" in page.text


def test_another_network_takes_over_and_back(client, web, monkeypatch):
    made = {None: BlockEmbedder(), ("a.py", "a.pth"): BlockEmbedder("2")}
    monkeypatch.setattr(known_networks, "embedder_of", lambda one: made[one and tuple(one)])
    folder = web.home.folder / "students" / "small"
    folder.mkdir(parents=True)
    (folder / "a.py").touch()
    admin = client("admin")
    assert "students/small" not in admin.get("/models").text.partition("<select")[2]
    (folder / "a.pth").touch()
    made[(str(folder / "a.py"), str(folder / "a.pth"))] = BlockEmbedder("2")
    assert '<option value="folder-small">students/small</option>' in admin.get("/models").text
    went_to(admin.post("/models/reembed", data={"network": "folder-small"}), "/models")
    job = ended(web, "re-embedding")
    assert (job.done, job.total, job.error) == (9, 9, "")
    assert web.networks.embedder.version == "2"
    page = admin.get("/models").text
    assert page.count(">9 of 9</td>") == 2
    assert "The network is in use" in page
    page = admin.get("/calibration").text
    assert "Networks side by side" in page
    assert "not measured" in page  # the first one
    assert page.count("<polyline") == 6
    went_to(admin.post("/models/roll-back"), "/models?done=rolled-back")
    assert web.networks.embedder.version == "1"
    went_to(admin.post("/models/latency"), "/models?done=measured")
    assert "not measured" not in admin.get("/calibration").text
    assert admin.post("/models/1/forget").status_code == 422
    went_to(admin.post("/models/2/forget"), "/models?done=forgotten")
    assert "Networks side by side" not in admin.get("/calibration").text
    page = admin.post("/models/reembed", data={"network": "../a.py"})
    assert page.status_code == 422
    assert "not at hand" in page.text


def test_the_server_follows_a_switch_by_the_command(client, web, monkeypatch):
    made = {None: BlockEmbedder(), "2": BlockEmbedder("2")}
    monkeypatch.setattr(known_networks, "embedder_of", lambda one: made[one])
    viewer, ended = client("viewer"), threading.Event()
    follower = threading.Thread(target=keep_following, args=(web, ended, 0.01))
    follower.start()
    try:
        for student, version in (("no network", "1"), ("2", "2"), (None, "1")):
            embedder = made.get(student, BlockEmbedder("3"))
            for _ in reembed.reembed(
                web.home,
                embedder,
                "test",
                lambda session, _, student=student: settings.put(session, "student", student),
            ):
                pass
            wait(lambda version=version: web.networks.embedder.version == version)
            answer = viewer.post("/api/v1/identify", files={"file": ("a.png", image(1, 5))})
            assert answer.status_code == (409 if student == "no network" else 200)
    finally:
        ended.set()
        follower.join(10)


def test_users_are_added_changed_and_disabled(client, web):
    admin = client("admin")
    form = {"name": "Bob", "password": "a long password", "role": "viewer"}
    went_to(admin.post("/users", data=form), "/users?done=user-added")
    page = admin.post("/users", data=form)
    assert page.status_code == 422
    assert "there is a user bob already" in page.text
    assert "a long password" not in page.text
    went_to(admin.post("/users/bob/role", data={"role": "operator"}), "/users?done=role")
    assert admin.post("/users/bob/role", data={"role": "root"}).status_code == 422
    went_to(
        admin.post("/users/bob/password", data={"password": "another password"}),
        "/users?done=password",
    )
    assert users.authenticate(web.home, "bob", "another password").role == "operator"
    went_to(admin.post("/users/bob/disable"), "/users?done=disabled")
    assert users.authenticate(web.home, "bob", "another password") is None
    went_to(admin.post("/users/bob/enable"), "/users?done=enabled")
    assert admin.post("/users/nobody/disable").status_code == 404
    for path, form in (("role", {"role": "viewer"}), ("disable", {})):
        page = admin.post(f"/users/admin/{path}", data=form)
        assert page.status_code == 422
        assert "the last admin" in page.text


def test_ones_own_password_needs_the_old_one(client, web):
    viewer = client("viewer")
    form = {"old": "wrong", "new": "a new password"}
    page = viewer.post("/account", data=form)
    assert page.status_code == 422
    assert "old password is wrong" in page.text
    form["old"] = "correct horse battery"
    assert viewer.post("/account", data=form | {"new": "short"}).status_code == 422
    went_to(viewer.post("/account", data=form), "/login")
    assert viewer.get("/people").status_code == 303
    assert users.authenticate(web.home, "viewer", "a new password")


def test_a_key_is_shown_once(client, web):
    admin = client("admin")
    page = admin.post("/keys", data={"name": "door", "scopes": ["identify", "verify"]})
    key = re.search(r"kdf_[0-9a-f]{8}_[\w-]+", page.text).group()
    assert key not in admin.get("/keys").text
    assert "identify, verify" in admin.get("/keys").text
    page = admin.post("/keys", data={"name": "door"})
    assert page.status_code == 422
    assert "needs scopes" in page.text
    prefix = key.split("_")[1]
    went_to(admin.post(f"/keys/{prefix}/revoke"), "/keys?done=revoked")
    assert f'action="/keys/{prefix}/revoke"' not in admin.get("/keys").text


def test_the_audit_log_is_filtered_verified_and_sent_as_csv(client, web):
    admin = client("admin")
    admin.post("/people", data={"name": "=1+1"})
    page = admin.get("/audit?action=person.create&actor=admin").text
    assert "1 entry with this actor and action" in page
    verified = admin.post("/audit/verify")
    assert "The chain of" in verified.text
    sent = admin.get("/audit.csv?action=person.create&actor=admin")
    assert "attachment" in sent.headers["Content-Disposition"]
    (entry,) = csv.DictReader(io.StringIO(sent.text))
    assert entry["details"] == '{"person": 4}'
    with web.home.write() as session:
        settings.put(session, audit.HEAD, [1, "0" * 64])
    page = admin.post("/audit/verify")
    assert page.status_code == 409
    assert "newest entries were removed" in page.text


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_is_no_formula(begin):
    assert disarmed(f"{begin}cmd") == f"'{begin}cmd"
    assert disarmed("a=b") == "a=b"


def test_a_name_of_a_network_or_key_is_text(client, web):
    """A network's name is that of the file of its weights."""
    other = BlockEmbedder("2")
    other.name = NASTY
    list(reembed.reembed(web.home, other, "test"))
    reembed.roll_back(web.home, "test")
    folder = web.home.folder / "students" / "a&b"
    folder.mkdir(parents=True)
    (folder / "a.py").touch()
    (folder / "a.pth").touch()
    admin = client("admin")
    admin.post("/keys", data={"name": NASTY, "scopes": ["identify"]})
    shown = "&lt;script&gt;alert(1)"
    for path in ("/models", "/calibration?far=0.1", "/keys", "/audit"):
        page = admin.get(path).text
        assert shown in page, path
        assert "<script>alert" not in page, path
    assert "students/a&amp;b" in admin.get("/models").text
    page = admin.get("/audit", params={"actor": f'"><i>{NASTY}'}).text
    assert "<i>" not in page
    assert "&lt;i&gt;" in page


def test_a_job_that_fails_says_nothing_about_the_server(client, web):
    def work(job):
        raise RuntimeError("secret of the inside")

    web.jobs.start("import", "anna", work)
    assert ended(web, "import").error == "the server has failed. Its log says why."
    assert "secret" not in client("operator").get("/imports").text
