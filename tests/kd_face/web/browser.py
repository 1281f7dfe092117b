"""A real headless Chromium by selenium, and a server for it on a free port of loopback."""

import contextlib
import shutil
import socket
import threading
import time
from importlib.util import find_spec

import numpy as np

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PHONE, DESKTOP = (390, 844), (1280, 900)


def missing():
    """Return why no browser can be started; empty where one can."""
    if find_spec("selenium") is None:
        return "needs selenium: pip install selenium"
    if not CHROMIUM or not DRIVER:
        return "needs chromium and chromedriver: apt install chromium chromium-driver"
    return ""


@contextlib.contextmanager
def served(app, port):
    """Serve an application in a thread."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def free_port():
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


@contextlib.contextmanager
def chromium(video):
    """Start the browser with a file as its camera."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    browser.set_page_load_timeout(60)
    try:
        yield browser
    finally:
        browser.quit()


def resize(browser, size):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )


def wait(condition, seconds=60):
    """Return what a condition returns once that is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "nothing has happened"
        time.sleep(0.05)
    return found


def write_video(path, pixels):
    """Write frames of one image as uncompressed video (YUV4MPEG2, 4:2:0), for the fake camera."""
    height, width = pixels.shape[:2]
    gray = pixels.mean(2)
    luma = np.clip(16 + gray * 219 / 255, 16, 235).astype(np.uint8).tobytes()
    chroma = np.full(width * height // 2, 128, np.uint8).tobytes()
    header = f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(header + (b"FRAME\n" + luma + chroma) * 10)
