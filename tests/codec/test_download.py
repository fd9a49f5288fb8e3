"""Fetching a known file from a server on this machine that behaves well and badly."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streamer.codec.download import DownloadError, RemoteFile, cache_folder, fetch, progress_bar

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several blocks
SENTENCE = r"^[^\n]+\.$"


class Server(ThreadingHTTPServer):
    """Serves `content`; remembers the Range header of every request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.knows_ranges = True
        self.stops_after = None  # bytes of one answer, although more are promised
        self.status = None
        self.ranges = []

    def file(self, content=CONTENT):
        url = f"http://127.0.0.1:{self.server_address[1]}/models/stand-in.th"
        return RemoteFile(url, len(content), hashlib.sha256(content).hexdigest())


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        if self.server.status:
            self.send_error(self.server.status)
            return
        content, begin = self.server.content, 0
        if asked and self.server.knows_ranges:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:][: self.server.stops_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_once_and_then_kept(server, tmp_path):
    path = fetch(server.file(), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "stand-in.th"
    assert path.read_bytes() == CONTENT
    assert fetch(server.file(), tmp_path / "new" / "folder") == path
    assert server.ranges == [None]


def test_progress_is_reported_from_zero_to_the_last_byte(server, tmp_path):
    reported = []
    fetch(server.file(), tmp_path, reported.append)
    assert reported[0] == 0
    assert reported[-1] == len(CONTENT)
    assert reported == sorted(reported)
    assert len(reported) > 2


def test_an_interrupted_download_resumes_where_it_stopped(server, tmp_path):
    server.stops_after = 300_000
    with pytest.raises(DownloadError, match=r"ended after 300,000 of 1,048,576 bytes; run the command again") as caught:
        fetch(server.file(), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "stand-in.th").exists()
    server.stops_after = None
    reported = []
    assert fetch(server.file(), tmp_path, reported.append).read_bytes() == CONTENT
    assert reported[0] == 300_000
    assert server.ranges == [None, "bytes=300000-"]


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / "stand-in.th.part").write_bytes(b"another beginning")
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=17-"]


def test_a_complete_part_is_not_fetched_again(server, tmp_path):
    (tmp_path / "stand-in.th.part").write_bytes(CONTENT)
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [(CONTENT[:-1] + b"?", "its SHA-256 differs"), (CONTENT + b"and more", "1,048,577 bytes instead of 1,048,576")],
    ids=["one byte differs", "too long"],
)
def test_another_file_is_refused_and_renamed(server, tmp_path, sent, complaint):
    server.content = sent
    with pytest.raises(DownloadError, match=SENTENCE) as caught:
        fetch(server.file(), tmp_path)
    assert complaint in str(caught.value)
    assert "run the command again" in str(caught.value)
    assert not (tmp_path / "stand-in.th").exists()
    server.content = CONTENT
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT


def test_a_kept_file_that_was_damaged_is_refused_and_then_fetched_anew(server, tmp_path):
    path = fetch(server.file(), tmp_path)
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(DownloadError, match=r"damaged.*renamed to stand-in\.th\.damaged; run the command again"):
        fetch(server.file(), tmp_path)
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT


def test_a_part_with_a_wrong_beginning_is_refused(server, tmp_path):
    (tmp_path / "stand-in.th.part").write_bytes(b"?" * 1000)
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(server.file(), tmp_path)
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 500])
def test_an_error_answer_names_the_address_and_the_local_path(server, tmp_path, status):
    server.status = status
    with pytest.raises(DownloadError, match=SENTENCE) as caught:
        fetch(server.file(), tmp_path)
    assert str(status) in str(caught.value)
    assert server.file().url in str(caught.value)
    assert str(tmp_path / "stand-in.th") in str(caught.value)


def test_without_a_network_the_address_and_the_local_path_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as nobody:  # bound but not listening: the port refuses
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/stand-in.th"
        with pytest.raises(DownloadError, match=SENTENCE) as caught:
            fetch(RemoteFile(url, 1, ""), tmp_path)
    assert url in str(caught.value)
    assert f"copy it to {tmp_path / 'stand-in.th'}" in str(caught.value)


def test_a_file_put_there_by_hand_needs_no_network(tmp_path):
    (tmp_path / "stand-in.th").write_bytes(CONTENT)
    file = RemoteFile("http://127.0.0.1:1/stand-in.th", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=SENTENCE) as caught:
        fetch(RemoteFile("http://127.0.0.1:1/stand-in.th", 1, ""), tmp_path / "file" / "folder")
    assert str(tmp_path / "file" / "folder") in str(caught.value)


def test_of_several_threads_at_once_one_downloads(server, tmp_path):
    paths = []
    askers = [threading.Thread(target=lambda: paths.append(fetch(server.file(), tmp_path))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(paths) == 4
    assert server.ranges == [None]


def test_the_bar_is_drawn_on_standard_error(capsys):
    file = RemoteFile("http://127.0.0.1:1/stand-in.th", 2_000_000, "")
    with progress_bar(file) as on_progress:
        on_progress(1_000_000)
        on_progress(2_000_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "stand-in.th" in captured.err
    assert "2.0/2.0 MB" in captured.err


def test_downloaded_files_are_kept_in_the_users_cache():
    assert cache_folder().name == "streamer"
