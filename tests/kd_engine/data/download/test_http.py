"""Downloads from a real HTTP server on this machine that breaks off and changes its mind."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kd_engine.data.download import http as transfer
from kd_engine.data.download.http import DownloadError, RetryPolicy, Source, download_file
from kd_engine.data.download.partial_file import locked, part_of
from kd_engine.data.download.progress import DownloadProgress, readable_size

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes
QUICK = RetryPolicy(tries=3, pause=0.0, timeout=5.0)


@dataclass
class Server:
    """Content of the server, its faults, and the requests that it got."""

    url: str = ""
    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)  # bytes after which each answer breaks off
    codes: list[int] = field(default_factory=list)  # errors to answer first
    chunked: bool = False
    shift: int = 0  # bytes by which an answer to a range begins too early, and says so
    length: str = ""  # what to say instead of the true length
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.state.asked.append(wanted or "all")
        if self.state.codes:
            self.send_error(self.state.codes.pop(0))
            return
        if self.path == "/gone.bin":
            self.send_error(404)
            return
        start = self.first_byte(wanted)
        if start >= len(self.state.content) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        start -= self.state.shift if start else 0
        for key, value in self.state.headers.items():
            self.send_header(key, value)
        if start:
            total = len(self.state.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_body(self.state.content[start:])

    def first_byte(self, wanted: str | None) -> int:
        validators = {self.state.headers.get("ETag"), self.state.headers.get("Last-Modified")}
        if not (self.state.ranges and wanted and self.headers.get("If-Range") in validators):
            return 0
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        assert match is not None
        return int(match[1])

    def send_body(self, body: bytes) -> None:
        if not self.state.chunked:
            self.send_header("Content-Length", self.state.length or str(len(body)))
        self.end_headers()
        end = self.state.breaks.pop(0) if self.state.breaks else len(body)
        self.wfile.write(body[:end])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("Bound", (Handler,), {"state": state})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/file.bin"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "deep/file.bin"
    source = Source((server.url,), md5=_md5(CONTENT))
    assert download_file(source, target, QUICK) == hashlib.sha256(CONTENT).hexdigest()
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    download_file(source, target, QUICK)
    assert server.asked == ["all"]


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, 50_000]
    download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == ["all", "bytes=100000-", "bytes=150000-"]


def test_a_later_run_goes_on_where_the_first_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.breaks = [70_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"3 attempts without progress.*run the command again"):
        download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert not (tmp_path / "file.bin").exists()
    server.breaks, server.asked = [], []
    download_file(Source((server.url,), md5=_md5(CONTENT)), tmp_path / "file.bin", QUICK)
    assert server.asked == ["bytes=70000-"]


@pytest.mark.parametrize("same_length", [True, False])
def test_a_changed_file_is_fetched_afresh(
    server: Server, tmp_path: Path, same_length: bool
) -> None:
    server.breaks = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    server.content = CONTENT[::-1] if same_length else b"short now"
    server.headers, server.breaks = {"ETag": '"two"'}, []
    download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin").read_bytes() == server.content


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.breaks = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    server.content, server.breaks = b"short now", []  # the tag stays: the server answers 416
    download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin").read_bytes() == b"short now"


@pytest.mark.parametrize(
    "headers", [{}, {"ETag": 'W/"weak"'}, {"ETag": '"one"', "Accept-Ranges": "none"}]
)
def test_without_ranges_or_strong_tag_it_starts_afresh(
    server: Server, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.headers, server.ranges, server.breaks = headers, False, [100_000]
    download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_the_date_serves_when_there_is_no_tag(server: Server, tmp_path: Path) -> None:
    server.headers = {"Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}
    server.breaks = [100_000]
    download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert server.asked == ["all", "bytes=100000-"]


def test_a_size_that_is_not_told_is_no_obstacle(server: Server, tmp_path: Path) -> None:
    server.chunked = True
    download_file(Source((server.url,), md5=_md5(CONTENT)), tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_wrong_checksum_leaves_no_file(server: Server, tmp_path: Path, kind: str) -> None:
    source = Source((server.url,), **{kind: "0" * 32})
    with pytest.raises(DownloadError, match=rf"must have the {kind} 0+, but what came has"):
        download_file(source, tmp_path / "file.bin", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    url = server.url.replace("file.bin", "gone.bin")
    with pytest.raises(DownloadError, match="answers 404"):
        download_file(Source((url,)), tmp_path / "gone.bin", QUICK)
    assert server.asked == ["all"]


def test_the_second_address_is_used_when_the_first_fails(server: Server, tmp_path: Path) -> None:
    gone = server.url.replace("file.bin", "gone.bin")
    source = Source((gone, server.url), md5=_md5(CONTENT))
    download_file(source, tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_from_one_address_is_not_continued_from_another(
    server: Server, tmp_path: Path
) -> None:
    server.breaks = [70_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    server.breaks, server.asked = [], []
    download_file(Source((server.url + "?other",)), tmp_path / "file.bin", QUICK)
    assert server.asked == ["all"]


def test_a_busy_server_is_asked_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.codes = [503, 500]
    download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert server.asked == ["all"] * 3
    assert "answers 503" in capsys.readouterr().err


def test_the_pause_doubles(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", pauses.append)
    server.codes = [503] * 3
    download_file(Source((server.url,)), tmp_path / "file.bin", RetryPolicy(tries=5, pause=2.0))
    assert pauses == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_that_is_there_already_is_compared(
    server: Server, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT)
    right = hashlib.new(kind, CONTENT).hexdigest()
    download_file(Source((server.url,), **{kind: right.upper()}), target, QUICK)
    target.write_bytes(CONTENT[:-1] + b"x")
    message = rf"file\.bin must have the {kind} {right}, but the file that was there .*Remove it"
    with pytest.raises(DownloadError, match=message):
        download_file(Source((server.url,), **{kind: right}), target, QUICK)
    assert server.asked == [] and target.is_file()  # it is not ours to remove


def test_an_answer_with_other_bytes_than_asked_for_is_not_appended(
    server: Server, tmp_path: Path
) -> None:
    server.breaks, server.shift = [100_000], 256
    with pytest.raises(DownloadError, match="sent 'bytes 99744-.* when asked from byte 100000"):
        download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:100_000]


def test_old_bytes_never_lie_under_the_state_of_a_new_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file changes, and the disk is full when the state of the new one is written already."""
    source, target = Source((server.url,)), tmp_path / "file.bin"
    server.breaks = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError, match="3 attempts"):
        download_file(source, target, QUICK)
    server.content, server.headers, server.breaks = CONTENT[::-1], {"ETag": '"two"'}, []
    usage = transfer.shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(transfer.shutil, "disk_usage", lambda _: usage._replace(free=0))
        with pytest.raises(DownloadError, match="has only 0 B free"):
            download_file(source, target, QUICK)
    download_file(source, target, QUICK)
    assert target.read_bytes() == CONTENT[::-1]


def test_one_process_alone_fetches_a_file(server: Server, tmp_path: Path) -> None:
    with locked(part_of(tmp_path / "file.bin")), pytest.raises(DownloadError, match="another pro"):
        download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)


def test_a_length_that_is_no_number_is_as_good_as_none(server: Server, tmp_path: Path) -> None:
    server.length = "many"
    download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_full_disk_is_noticed_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"needs 512\.0 kB.*has only 1\.0 MB free"):
        download_file(Source((server.url,)), tmp_path / "file.bin", QUICK)


def test_progress_tells_share_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("kd_engine.data.download.progress.time.monotonic", lambda: clock[0])
    progress = DownloadProgress("a.zip", 1_000_000, 11_000_000)
    clock[0] = 110.0
    line = progress.line(3_000_000)  # 2 MB in 10 s; 8 MB are left
    assert line.strip() == "a.zip: 3.0 MB of 11.0 MB (27 %), 200.0 kB/s, ETA 0:00:40"


def test_amounts_are_readable() -> None:
    assert [readable_size(n) for n in (7, 1500, 2e6, 19.3e9)] == [
        "7 B",
        "1.5 kB",
        "2.0 MB",
        "19.30 GB",
    ]
