"""Pages of people, pictures, import and review: what a form does, and its errors."""

import io
import time
import zipfile

import pytest
from sqlalchemy import select

from kd_face import people, pictures
from kd_face.database.models import Person, Picture, UnknownFace

from ..stand_ins import blocks, png
from .gallery import fill, image, keep_unknown


@pytest.fixture
def web(app):
    return app.state.web


@pytest.fixture
def operator(client):
    return client("operator")


def rows(web, table):
    with web.home.read() as session:
        return session.scalars(select(table).order_by(table.id)).all()


def went_to(answer, address):
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"] == address


def test_a_person_is_created_renamed_merged_and_deleted(operator, web):
    fill(web.home, web.networks, people=2)
    went_to(operator.post("/people", data={"name": " Anna "}), "/people/3?done=created")
    assert "cannot be recognized" in operator.get("/people/3").text
    went_to(operator.post("/people/3/rename", data={"name": "Ann"}), "/people/3?done=renamed")
    page = operator.get("/people/3?done=renamed").text
    assert "The person is renamed." in page
    assert "<h1>Ann</h1>" in page
    went_to(operator.post("/people/3/merge", data={"name": "p1"}), "/people/2?done=merged")
    went_to(operator.post("/people/2/merge", data={"name": "p0"}), "/people/1?done=merged")
    asked = operator.get("/people/1/delete").text
    assert "6 pictures, rows and files" in asked
    assert "6 embeddings" in asked
    assert "6 entries of the search index" in asked
    assert len(rows(web, Person)) == 1  # asking deletes nothing
    went_to(operator.post("/people/1/delete"), "/people?done=erased")
    assert rows(web, Person) == rows(web, Picture) == list(web.home.blobs) == []


def test_a_name_that_cannot_be_is_kept_in_the_form(operator, web):
    fill(web.home, web.networks, people=1)
    page = operator.post("/people", data={"name": "p0"})
    assert page.status_code in (409, 422)
    assert "is taken" in page.text
    assert 'value="p0"' in page.text
    assert operator.post("/people/1/rename", data={"name": ""}).status_code == 422
    page = operator.post("/people/1/merge", data={"name": "nobody"})
    assert page.status_code == 422
    assert "no person &#39;nobody&#39; to merge into" in page.text


def test_each_uploaded_file_has_its_reasons(operator, web):
    with web.home.write() as session:
        people.create(session, "anna", "test")
    two, none = png(blocks(1).repeat(2, 1)[:96]), png(blocks(1) * 0)
    sent = [
        ("files", ("good.png", image(1))),
        ("files", ("<b>none.png", none)),
        ("files", ("text.png", b"no image")),
        ("files", ("good2.png", image(1, 2))),
        ("files", ("two.png", two)),
    ]
    page = operator.post("/people/1/pictures", files=sent)
    assert page.status_code == 200
    for text in (
        "&lt;b&gt;none.png: no face was found",
        "text.png: must be a JPEG",
        "two.png: 2 faces were found",
    ):
        assert text in page.text
    assert page.text.count(">added<") == 2
    assert len(rows(web, Picture)) == 2
    page = operator.post("/people/1/pictures", files=sent[:1])
    assert page.status_code == 422
    assert "has the same file already" in page.text
    assert operator.post("/people/9/pictures", files=sent[:1]).status_code == 404


def test_an_upload_has_a_bound_and_is_not_cut_by_a_full_queue(operator, web, monkeypatch):
    with web.home.write() as session:
        people.create(session, "anna", "test")
    sent = [("files", (f"{number}.png", image(1, number))) for number in range(51)]
    page = operator.post("/people/1/pictures", files=sent)
    assert page.status_code == 422
    assert "at most 50 pictures are added at a time, but these are 51" in page.text
    assert rows(web, Picture) == []
    add = pictures.add

    def add_while_others_come(*arguments):
        web.recognitions._most = 0
        return add(*arguments)

    monkeypatch.setattr(pictures, "add", add_while_others_come)
    page = operator.post("/people/1/pictures", files=sent[:3])
    assert page.status_code == 200
    assert page.text.count(">added<") == 3
    page = operator.post("/people/1/pictures", files=sent[3:5])
    assert page.status_code == 429
    assert len(rows(web, Picture)) == 3


def test_pictures_are_sent_encoded_anew_and_deleted(operator, client, web):
    fill(web.home, web.networks, people=1, pictures=2)
    sent = client("viewer").get("/pictures/1/image")
    assert sent.headers["Content-Type"] == "image/jpeg"
    assert sent.headers["X-Content-Type-Options"] == "nosniff"
    assert sent.content.startswith(b"\xff\xd8")
    assert operator.get("/pictures/1/face").content.startswith(b"\xff\xd8")
    assert client("viewer").post("/pictures/1/delete").status_code == 403
    went_to(operator.post("/pictures/1/delete"), "/people/1?done=picture-deleted")
    assert operator.get("/pictures/1/image").status_code == 404
    assert operator.post("/pictures/1/delete").status_code == 404
    assert len(list(web.home.blobs)) == 1


def packed(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def ended(web, kind):
    for _ in range(200):
        job = web.jobs.last(kind)
        if not job.is_running:
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_a_zip_is_imported_with_a_report_for_each_file(operator, web):
    sent = packed({"anna/1.png": image(1), "anna/2.txt": b"text", "<i>/1.png": image(2)})
    went_to(operator.post("/imports", files={"file": ("a.zip", sent)}), "/imports")
    ended(web, "import")
    page = operator.get("/imports").text
    assert "2 added" in page
    assert "1 refused" in page
    assert "anna/2.txt" in page
    assert "must be a JPEG" in page
    assert "&lt;i&gt;/1.png" in page
    assert "every 1s" not in page  # it has ended
    assert [one.name for one in rows(web, Person)] == ["<i>", "anna"]
    operator.post("/imports", files={"file": ("a.zip", b"no zip")})
    assert ended(web, "import").error == (
        "the file must be a folder or a ZIP, but it is neither, or cannot be read."
    )
    assert "must be a folder or a ZIP" in operator.get("/imports/progress").text


def test_one_job_runs_at_a_time(operator, web):
    import threading

    gate = threading.Event()
    web.jobs.start("import", "anna", lambda job: gate.wait(10))
    try:
        page = operator.post("/imports", files={"file": ("a.zip", b"")})
        assert page.status_code == 409
        assert "anna has started: import" in page.text
        part = operator.get("/imports/progress").text
        assert 'hx-trigger="every 1s"' in part
        assert "<html" not in part
    finally:
        gate.set()
    ended(web, "import")


def test_unknown_faces_are_assigned_and_dismissed(operator, web):
    fill(web.home, web.networks, people=2)
    went_to(operator.post("/review/days", data={"days": "5"}), "/review?done=days")
    for person in (7, 8):
        operator.post("/recognize", files={"file": ("a.png", image(person))})
    page = operator.get("/review").text
    assert "2 faces to review" in page
    assert "is below the threshold" in page
    assert operator.get("/review/1/image").content.startswith(b"\xff\xd8")
    went_to(operator.post("/review/1/assign", data={"name": "new"}), "/review?done=assigned")
    assert [one.name for one in rows(web, Person)][-1] == "new"
    went_to(operator.post("/review/2/dismiss"), "/review?done=dismissed")
    assert rows(web, UnknownFace) == []
    assert "Nothing waits" in operator.get("/review").text
    assert operator.get("/review/2/image").status_code == 404
    page = operator.post("/review/2/assign", data={"name": "new"})
    assert page.status_code == 422
    assert "no unknown face 2" in page.text
    assert operator.post("/review/days", data={"days": "366"}).status_code == 422


def test_without_days_nothing_is_kept(operator, web):
    fill(web.home, web.networks, people=2)
    operator.post("/recognize", files={"file": ("a.png", image(7))})
    assert "are not kept" in operator.get("/review").text
    keep_unknown(web.home)
    operator.post("/recognize", files={"file": ("a.png", image(0))})  # known
    assert rows(web, UnknownFace) == []
