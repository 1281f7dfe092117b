"""Server: where it may listen, the proxy before it, health, metrics, logs, many at once."""

import io
import json
import logging
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from kd_face.errors import FaceError
from kd_face.web.listen import Listen, require_safe
from kd_face.web.logs import JsonFormatter
from kd_face.web.options import LOCAL, WebOptions
from kd_face.web.proxy import BehindProxy
from kdkit.cli.face import command

from ..stand_ins import blocks, enrol, png
from .conftest import PASSWORD

API = "/api/v1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "8.8.8.8", "::ffff:8.8.8.8"])
def test_without_a_proxy_it_only_listens_on_loopback(host):
    with pytest.raises(FaceError, match="loopback.*--behind-tls-proxy"):
        require_safe(Listen(host, 8000), WebOptions())
    require_safe(Listen(host, 8000, "10.0.0.1"), WebOptions(tls=True, hosts=("faces.test",)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_is_fine(host):
    require_safe(Listen(host, 8000), WebOptions())


@pytest.mark.parametrize("host", ["faces.test", "", "localhost.evil.test", "127.0.0.1.evil.test"])
def test_a_name_is_no_address(host):
    with pytest.raises(FaceError, match="an address is needed"):
        require_safe(Listen(host, 8000), WebOptions())


def test_a_proxy_needs_an_address_and_a_name():
    with pytest.raises(FaceError, match="--name"):
        require_safe(Listen("0.0.0.0", 1, "10.0.0.1"), WebOptions(tls=True, hosts=()))
    with pytest.raises(FaceError, match="an address is needed"):
        require_safe(Listen("0.0.0.0", 1, "*"), WebOptions(tls=True, hosts=("faces.test",)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "must listen on loopback"),
        (["--host", "0.0.0.0", "--name", "faces.test"], "must listen on loopback"),
        (["--behind-tls-proxy", "10.0.0.1"], "--name"),
        (["--behind-tls-proxy", "any", "--name", "faces.test"], "an address is needed"),
    ],
)
def test_the_command_refuses_what_is_unsafe(home, networks, monkeypatch, words, said):
    monkeypatch.setattr("kd_face.networks.networks_of", lambda home: networks)
    monkeypatch.setattr("kd_core.packages.find_spec", lambda _: True)
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: pytest.fail("it was started"))
    result = CliRunner().invoke(command, ["--home", str(home.folder), "serve", *words])
    assert result.exit_code == 1 and said in result.output


def test_the_command_starts_with_what_it_was_told(home, networks, monkeypatch):
    started = {}
    monkeypatch.setattr("kd_face.networks.networks_of", lambda home: networks)
    monkeypatch.setattr("kd_core.packages.find_spec", lambda _: True)
    monkeypatch.setattr("kd_face.web.serve.log_json", lambda: None)
    monkeypatch.setattr("uvicorn.run", lambda app, **how: started.update(how, app=app))
    words = ["--home", str(home.folder), "serve", "--port", "8123"]
    assert CliRunner().invoke(command, words).exit_code == 0
    assert (started["host"], started["port"]) == ("127.0.0.1", 8123)
    assert not started["proxy_headers"] and not started["access_log"]
    options = started["app"].state.web.options
    assert options.hosts == LOCAL and not options.tls and not options.cookie.startswith("__Host-")
    more = ["--behind-tls-proxy", "10.0.0.1", "--name", "Faces.test", "--host", "0.0.0.0"]
    assert CliRunner().invoke(command, [*words, *more]).exit_code == 0
    assert isinstance(started["app"], BehindProxy) and started["host"] == "0.0.0.0"


def test_without_tls_the_cookie_has_another_name(home, networks, app):
    from kd_face.web.app import create_app

    plain = create_app(home, networks, WebOptions())
    client = TestClient(plain, "http://127.0.0.1:8000")
    client.follow_redirects = False
    answer = client.post("/login", data={"name": "admin", "password": PASSWORD})
    assert answer.headers["Set-Cookie"].startswith("kd_face_local=")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie
    assert client.get("/").status_code == 200 and "Strict-Transport" not in str(answer.headers)


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("10.0.0.1", {"X-Forwarded-For": "6.6.6.6, 1.2.3.4", "X-Forwarded-Proto": "https"}, 200),
        ("10.0.0.2", {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}, 403),
        ("10.0.0.1", {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "http"}, 403),
        ("10.0.0.1", {"X-Forwarded-Proto": "https"}, 403),
        ("10.0.0.1", {"X-Forwarded-For": "1.2.3.4"}, 403),
    ],
)
def test_only_the_proxy_is_believed(peer, headers, status):
    seen = []

    async def inner(scope, receive, send):
        seen.append((scope["client"][0], scope["scheme"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    client = TestClient(BehindProxy(inner, "10.0.0.1"), client=(peer, 5))
    assert client.get("/", headers=headers).status_code == status
    assert seen == ([("1.2.3.4", "https")] if status == 200 else [])


def test_it_is_ready_only_with_its_database(client, app, monkeypatch):
    assert client().get("/health").json() == {"status": "alive"}
    assert client().get("/health/ready").status_code == 200
    monkeypatch.setattr(app.state.web.index, "refresh", lambda _: 1 / 0)
    answer = client().get("/health/ready")
    assert answer.status_code == 503 and answer.json() == {"database": "ok", "index": "failed"}
    app.state.web.home.engine.dispose()
    monkeypatch.setattr("kd_face.web.health.require_current", lambda _: 1 / 0)
    answer = client().get("/health/ready")
    assert answer.status_code == 503 and answer.json()["database"] == "failed"


def test_metrics_count_routes_and_not_ids(client, home, networks):
    person, _ = enrol(home, networks, 1, [0])
    one = client(scopes=["people:read", "metrics"])
    for number in (person, 98, 99):
        one.get(f"{API}/people/{number}")
    one.get("/nothing/secret-name")
    one.request("BREW", "/login")
    found = one.get("/metrics").text
    route = 'method="GET",route="/api/v1/people/{person_id}"'
    assert f'kd_face_requests_total{{{route},status="404"}} 2.0' in found
    assert f"kd_face_request_seconds_count{{{route}}} 3.0" in found
    assert 'kd_face_gallery{of="people"} 1.0' in found and 'kd_face_gallery{of="pictures"}' in found
    assert "secret-name" not in found and "BREW" not in found and "/98" not in found
    assert client(scopes=["people:read"]).get("/metrics").status_code == 403


@pytest.fixture
def log():
    """Return the lines that the server has logged, each as the dict that it is."""
    buffer = io.StringIO()
    handler = logging.StreamHandler(buffer)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("kd_face.web")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in buffer.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_logs_have_no_names_and_no_messages_of_errors(app, client, log):
    @app.get("/api/v1/broken")
    def broken():
        raise RuntimeError("secret of the inside")

    operator = client("operator")
    operator.get(f"{API}/people", params={"search": "Annabelle"})
    operator.post(f"{API}/people", json={"name": "Annabelle"})
    operator.get("/api/v1/broken")
    lines = log()
    text = json.dumps(lines)
    assert "Annabelle" not in text and "secret of" not in text and PASSWORD not in text
    (made,) = (one for one in lines if one.get("status") == 201)
    assert made["route"] == f"{API}/people" and made["method"] == "POST"
    assert made["caller"] == "operator" and made["ms"] > 0 and made["level"] == "info"
    (failed,) = (one for one in lines if one["level"] == "error")
    assert failed["error"] == "RuntimeError"
    assert any(place.endswith("broken") for place in failed["came_through"])


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return {"file": ("people.zip", buffer.getvalue(), "application/zip")}


def ended(client):
    for _ in range(2000):
        answer = client.get(f"{API}/imports").json()
        if not answer["is_running"]:
            return answer
        threading.Event().wait(0.01)
    raise AssertionError("the import does not end")


def test_a_zip_is_imported_with_a_report_for_each_file(client):
    operator = client("operator")
    assert operator.get(f"{API}/imports").status_code == 404
    files = {"Ann/1.png": png(blocks(1)), "Ann/2.png": b"none", "Bob/1.png": png(blocks(2))}
    assert operator.post(f"{API}/imports", files=zipped(files)).status_code == 202
    found = ended(operator)
    outcomes = {one["name"]: one["outcome"] for one in found["files"]}
    assert outcomes == {"Ann/1.png": "added", "Ann/2.png": "refused", "Bob/1.png": "added"}
    assert found["done"] == 3 and found["error"] == "" and "JPEG" in found["files"][1]["reason"]
    page = operator.get(f"{API}/imports", params={"offset": 1, "limit": 1}).json()["files"]
    assert [one["name"] for one in page] == ["Ann/2.png"]
    operator.post(f"{API}/imports", files=zipped({"../evil.png": b"x"}))
    assert "leads out of it" in ended(operator)["error"]
    operator.post(f"{API}/imports", files={"file": ("a.zip", b"no zip", "application/zip")})
    assert "neither" in ended(operator)["error"] and "/tmp" not in ended(operator)["error"]


def test_many_at_once_get_right_answers_while_the_gallery_changes(client, home, networks):
    for person in range(4):
        enrol(home, networks, person, [0])
    callers = [client("operator")] + [client(scopes=["identify"]) for _ in range(5)]
    place = f"{API}/people"

    def change(number):
        made = callers[0].post(place, json={"name": f"new {number}"}).json()["id"]
        face = {"file": ("a.png", png(blocks(100 + number)), "image/png")}
        assert callers[0].post(f"{place}/{made}/pictures", files=face).status_code == 201
        assert callers[0].delete(f"{place}/{made}").status_code == 200

    def ask(number):
        face = {"file": ("a.png", png(blocks(number % 4, 1)), "image/png")}
        answer = callers[1 + number % 5].post(f"{API}/identify", files=face)
        assert answer.status_code == 200
        (found,) = answer.json()["faces"]
        assert found["person"]["name"] == f"p{number % 4}"

    with ThreadPoolExecutor(6) as pool:
        for one in [pool.submit(change, n) for n in range(5)] + [
            pool.submit(ask, n) for n in range(40)
        ]:
            one.result()


def test_a_full_queue_is_answered_too_many(client, app, home, networks):
    enrol(home, networks, 1, [0])
    one, operator, nobody = client(scopes=["identify"]), client("operator"), client()
    web = app.state.web
    for slots in (web.recognitions, web.reports, web.sign_ins):
        slots._inside = slots._most
    face = {"file": ("a.png", png(blocks(1)), "image/png")}
    for answer in (
        one.post(f"{API}/identify", files=face),
        operator.post("/recognize", files=face),
        operator.get("/calibration"),
        operator.get(f"{API}/calibration"),
        operator.post("/account", data={"old": PASSWORD, "new": "another password"}),
        *(nobody.post("/login", data={"name": "admin", "password": PASSWORD}) for _ in range(60)),
    ):
        assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
        assert "may work or wait" in answer.text
    web.sign_ins._inside = 0
    assert nobody.post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 303


def test_a_database_that_cannot_be_written_to_is_answered_unavailable(client, app, monkeypatch):
    operator = client("operator")
    home = app.state.web.home
    home.engine.dispose()
    monkeypatch.setattr("kd_face.database.connect._WAIT", 1)
    with home.write():
        answer = operator.post(f"{API}/people", json={"name": "Ann"})
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert answer.json()["error"] == "the database cannot be written to. Try again."
    assert operator.post(f"{API}/people", json={"name": "Ann"}).status_code == 201
