"""The whole story in a real browser, from the first sign-in to the audit log."""

import os
from pathlib import Path

import numpy as np
import pytest

from kd_face import keys, users
from kd_face.database.models import Person

from .. import stand_ins
from ..stand_ins import blocks, png
from .browser import DESKTOP, PHONE, chromium, free_port, missing, resize, served, wait, write_video
from .conftest import PASSWORD
from .test_pages_people import packed

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "none")]
SHOTS = os.environ.get("KD_FACE_SCREENSHOTS")  # a folder, to look at them


class Visitor:
    """Somebody at the browser."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    def go(self, path):
        self.browser.get(self.address + path)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        return wait(lambda: self.all(selector))[0]

    def fill(self, selector, text):
        field = self.one(selector)
        if field.get_attribute("type") != "file":
            field.clear()
        field.send_keys(str(text))

    def press(self, selector):
        """Press a button and wait for the page that follows."""
        page = self.one("html")
        self.one(selector).click()
        wait(lambda: self._is_gone(page))

    def type(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def reads(self, text):
        words = "return document.querySelector('main')?.innerText ?? ''"
        return wait(lambda: text in self.browser.execute_script(words))

    def path(self):
        return self.browser.execute_script("return location.pathname")

    def look(self, name):
        """Require that nothing is wider than a phone or a desktop; keep a screenshot if wanted."""
        for kind, size in (("phone", PHONE), ("desktop", DESKTOP)):
            resize(self.browser, size)
            wide = self.browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= size[0], f"{name} is {wide} pixels wide on a {kind}"
            cut = self.browser.execute_script(
                "return [...document.querySelectorAll('.scroll')]"
                ".filter((one) => one.scrollWidth > one.clientWidth).length"
            )
            assert not cut, f"{name} has a table that is cut on a {kind}"
            if SHOTS:
                self.browser.save_screenshot(str(Path(SHOTS, f"{name}_{kind}.png")))

    def _is_gone(self, element):
        from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

        try:
            element.is_enabled()
        except (StaleElementReferenceException, WebDriverException):
            return True
        return False


@pytest.fixture
def visitor(home, networks, tmp_path):
    from kd_face.web.app import create_app
    from kd_face.web.options import WebOptions

    with home.write() as session:
        users.add(session, "anna", PASSWORD, "admin", "test")
    port = free_port()
    write_video(tmp_path / "camera.y4m", blocks(1, 9).repeat(4, 0).repeat(4, 1))
    app = create_app(home, networks, WebOptions())
    with served(app, port) as address, chromium(tmp_path / "camera.y4m") as browser:
        yield Visitor(browser, address)


@pytest.fixture
def files(tmp_path):
    """Write images and a ZIP of four people; return their folder."""
    for name, pixels in (
        ("new_1", blocks(1, 1)),
        ("new_2", blocks(1, 2)),
        ("none", blocks(1) * 0),
        ("group", np.concatenate([blocks(1, 3), blocks(3, 4), blocks(20)], 1)),
    ):
        (tmp_path / f"{name}.png").write_bytes(png(pixels))
    several = {f"p{one}/{two}.png": png(blocks(one, two)) for one in (2, 3, 4) for two in (1, 2, 3)}
    (tmp_path / "people.zip").write_bytes(packed(several))
    return tmp_path


def sign_in_and_create_by_keyboard(visitor):
    from selenium.webdriver import Keys

    visitor.go("/people")
    assert visitor.path() == "/login"
    visitor.look("login")
    visitor.type("anna", Keys.TAB, "wrong password", Keys.ENTER)
    visitor.reads("name or password is wrong")
    visitor.type(PASSWORD, Keys.ENTER)
    wait(lambda: visitor.path() == "/people")
    visitor.type(Keys.TAB, Keys.ENTER)  # the first stop skips to the content
    wait(lambda: visitor.browser.execute_script("return location.hash") == "#main")
    visitor.type(Keys.TAB, Keys.TAB, Keys.TAB, "Anna <b>", Keys.ENTER)
    visitor.reads("The person is created.")
    visitor.reads("Anna <b>")


def enrol(visitor, files):
    """Add pictures of one person, one of which is refused, and a ZIP of three people."""
    names = ("new_1", "new_2", "none")
    visitor.fill("#files", "\n".join(str(files / f"{name}.png") for name in names))
    visitor.press("form[enctype] button")
    visitor.reads("no face was found")
    assert len(visitor.all(".pictures img")) == 2
    visitor.look("person")
    visitor.go("/imports")
    visitor.fill("#file", files / "people.zip")
    visitor.press("form[enctype] button")
    visitor.reads("Last import")  # put there by htmx, without a reload
    visitor.reads("9 added")
    visitor.look("import")


def calibrate(visitor):
    visitor.go("/calibration?far=0.1")
    visitor.look("calibration")
    visitor.press("form[method=post][action='/calibration'] button")
    visitor.reads("The threshold is in use.")
    visitor.go("/review")
    visitor.fill("#days", "7")
    visitor.press("form[action='/review/days'] button")


def recognize(visitor, files):
    """Recognize a file and what the camera sees."""
    visitor.go("/recognize")
    visitor.fill("#file", files / "group.png")
    visitor.press("main form button")
    visitor.reads("3 faces")
    labels = [one.text for one in visitor.all(".seen .box-label")]
    assert labels == ["1 Anna <b>", "2 p3", "3 unknown"]
    visitor.reads("no liveness detection")
    visitor.look("recognize")
    visitor.go("/camera")
    visitor.one("#start").click()
    visitor.reads("recognized")
    assert visitor.one("#result a").text == "Anna <b>"
    assert visitor.all("#boxes .box.known")
    assert visitor.one("#said").get_attribute("textContent") == "Anna <b>"
    visitor.look("camera")
    visitor.one("#stop").click()
    wait(lambda: not visitor.all("#boxes .box"))


def review_and_delete(visitor):
    visitor.go("/review")
    visitor.reads("1 face to review")
    visitor.look("review")
    visitor.fill("input[list=names]", "Newcomer")
    visitor.press("form[action$='/assign'] button")
    visitor.reads("now a picture of the person")
    visitor.go("/people?q=anna")
    visitor.press("td a")
    visitor.press("a.danger")
    visitor.reads("2 pictures, rows and files")
    visitor.press("button.danger")
    visitor.reads("with all pictures, embeddings and index entries")


def audit(visitor):
    visitor.go("/audit")
    visitor.press("form[action='/audit/verify'] button")
    visitor.reads("is whole")
    for action in ("person.create", "picture.add", "import", "rule.set", "person.delete"):
        assert action in visitor.one("table").text
    visitor.look("audit")


def test_the_whole_story(visitor, files, home):
    sign_in_and_create_by_keyboard(visitor)
    enrol(visitor, files)
    calibrate(visitor)
    recognize(visitor, files)
    review_and_delete(visitor)
    with home.read() as session:
        assert session.get(Person, 1) is None
    audit(visitor)
    for path in ("/", "/people", "/models", "/users", "/keys"):
        visitor.go(path)
        visitor.look(path.strip("/") or "overview")
    visitor.press("form[action='/logout'] button")
    assert visitor.path() == "/login"
    log = [one for one in visitor.browser.get_log("browser") if one["level"] != "DEBUG"]
    refused = [one for one in log if "/login - Failed to load resource" in one["message"]]
    assert len(refused) == 1  # the wrong password, by design
    assert log == refused


def sign_in(visitor):
    visitor.go("/login")
    visitor.fill("#name", "anna")
    visitor.fill("#password", PASSWORD)
    visitor.press("main button")


def test_long_names_fit_everywhere(visitor, home, networks, tmp_path):
    """Words that no line is wide enough for, of people, files, users and keys."""
    word = "Rindfleischetikettierungsüberwachungsaufgabenübertragung"
    with home.write() as session:
        users.add(session, "x" * 60, PASSWORD, "viewer", "test")
        keys.create(session, word, keys.SCOPES, "test")
    stand_ins.enrol(home, networks, 1, [0], word)
    for name, pixels in ((f"{word}.png", blocks(1) * 0), ("group.png", blocks(1, 1))):
        (tmp_path / name).write_bytes(png(pixels))
    (tmp_path / f"no_{word}.png").write_bytes(b"no image")
    sign_in(visitor)
    for path in ("/", "/people", "/people/1/delete", "/users", "/keys", "/audit"):
        visitor.go(path)
        visitor.look(f"long_{path.rpartition('/')[2] or 'overview'}")
    visitor.go("/people/1")
    visitor.fill("#files", tmp_path / f"{word}.png")
    visitor.press("form[enctype] button")
    visitor.look("long_uploaded")
    for name in (f"no_{word}.png", "group.png"):
        visitor.go("/recognize")
        visitor.fill("#file", tmp_path / name)
        visitor.press("main form button")
        visitor.look(f"long_recognize_{name[:5]}")


def test_without_a_camera_the_page_says_so(visitor):
    sign_in(visitor)
    for name, text in (
        ("NotAllowedError", "may not use the camera"),
        ("NotFoundError", "has no camera"),
    ):
        visitor.go("/camera")
        visitor.browser.execute_script(
            "navigator.mediaDevices.getUserMedia ="
            f" () => Promise.reject(new DOMException('', '{name}'))"
        )
        visitor.one("#start").click()
        visitor.reads(text)
        assert visitor.one("#start").is_enabled()
