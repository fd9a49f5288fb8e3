"""Sound from real servers on loopback: what is captured, what is lost, and what is said of it."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest

from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.sources.address import parse_address
from streamer.sources.network import AvConnection
from streamer.sources.open import SourceOptions, open_once, open_source, parse_source
from streamer.sources.source import Source
from tests.support.real_broker import free_port, make_certificates
from tests.support.real_streams import FileServer, Icecast, RtspServer, program, write_noise
from tests.support.rtsp_over_tcp import InterleavedRtsp

pytestmark = pytest.mark.real

NOTICED_S = 5.0
BACK_S = 10.0
Server = Icecast | RtspServer


@dataclass
class Tap:
    """Reads a source's ring as the worker does, and keeps its unbroken runs."""

    source: Source
    runs: list[list[np.ndarray]] = field(default_factory=list)
    lost: int = 0

    def read(self) -> None:
        while (chunk := self.source.ring.read(1, SAMPLE_RATE)) is not None:
            if chunk.broken or not self.runs:
                self.runs.append([])
            self.runs[-1].append(chunk.samples)
            self.lost += chunk.lost

    @property
    def state(self) -> str:
        return self.source.status().state

    @property
    def detail(self) -> str:
        return self.source.status().detail

    @property
    def written_s(self) -> float:
        return self.source.ring.stats().written / SAMPLE_RATE


def started(url: str, **options: object) -> Tap:
    tap = Tap(open_source(parse_source(url), SourceOptions(**options)))  # type: ignore[arg-type]
    tap.source.start()
    return tap


def until(taps: Sequence[Tap], condition: Callable[[Tap], bool], within_s: float) -> list[float]:
    """Read all until `condition` holds for each; return after how many seconds it did."""
    begun, times = time.monotonic(), dict.fromkeys(range(len(taps)), 0.0)
    waiting = set(times)
    while waiting:
        for index in sorted(waiting):
            if condition(taps[index]):
                times[index] = time.monotonic() - begun
                waiting.discard(index)
        assert time.monotonic() - begun < within_s, [taps[index].source.status() for index in waiting]
        for tap in taps:
            tap.read()
        time.sleep(0.02)
    return list(times.values())


def play(taps: Sequence[Tap], seconds: float) -> None:
    """Read so many more seconds of each."""
    goals = {id(tap): tap.written_s + seconds for tap in taps}
    until(taps, lambda tap: tap.written_s >= goals[id(tap)], seconds + BACK_S)


def assert_accounted(tap: Tap, noise: np.ndarray, losses: int) -> None:
    """Every sample of every run is the noise's own, without one missing inside a run, and there is a gap a loss."""
    tap.source.stop()
    tap.read()
    stats = tap.source.ring.stats()
    assert tap.lost == stats.overwritten == 0
    assert len(tap.runs) == losses + 1
    total = 0
    for run in tap.runs:
        samples = np.concatenate(run)
        values = np.rint(samples * 2**15).astype(np.int16)
        assert np.array_equal(values / np.float32(2**15), samples)
        (starts,) = np.nonzero(
            (noise[: -len(values)] == values[0])
            & (noise[1 : 1 - len(values)] == values[1])
            & (noise[2 : 2 - len(values)] == values[2])
        )
        assert any(np.array_equal(noise[start : start + len(values)], values) for start in starts)
        total += len(values)
    assert total == stats.written


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A WAV file of ten minutes of noise, and its samples."""
    path = tmp_path_factory.mktemp("noise") / "noise.wav"
    return path, write_noise(path)[:, 0]


@pytest.fixture
def servers(tmp_path: Path, noise: tuple[Path, np.ndarray]) -> Iterator[list[Server]]:
    """Icecast and an RTSP server, both sending."""
    running: list[Server] = [Icecast(tmp_path / "icecast", noise[0]), RtspServer(tmp_path / "rtsp", noise[0])]
    try:
        for server in running:
            server.start()
        yield running
    finally:
        for server in running:
            server.kill()


def kill(servers: Sequence[Server], taps: Sequence[Tap]) -> tuple[list[float], list[float]]:
    """Kill the servers, wait until that is noticed, start them again; return both times of each."""
    for server in servers:
        server.kill()
    noticed = until(taps, lambda tap: tap.state == "source lost", NOTICED_S)
    for server in servers:
        server.start()
    return noticed, until(taps, lambda tap: tap.state == "live", BACK_S)


def freeze(servers: Sequence[Server], taps: Sequence[Tap]) -> tuple[list[float], list[float]]:
    """Freeze the servers until that is noticed; a program that ends when it is thawed is started again."""
    for server in servers:
        server.freeze()
    noticed = until(taps, lambda tap: tap.state == "source lost", NOTICED_S)
    for server in servers:
        server.thaw()
        if server.failed():
            server.kill()
            server.start()
    return noticed, until(taps, lambda tap: tap.state == "live", BACK_S)


def test_killed_and_frozen_servers_are_noticed_and_come_back_with_every_sample_accounted_for(
    servers: list[Server], noise: tuple[Path, np.ndarray]
) -> None:
    taps = [started(server.url) for server in servers]
    until(taps, lambda tap: tap.state == "live", BACK_S)
    play(taps, 1.0)
    descriptors = psutil.Process().num_fds()
    for outage in (kill, freeze, kill, freeze):
        outage(servers, taps)
        play(taps, 0.5)
    assert psutil.Process().num_fds() <= descriptors + 2
    for tap, server in zip(taps, servers, strict=True):
        assert tap.source.status().device == server.url
        assert tap.source.status().native_rate_hz == SAMPLE_RATE
        assert_accounted(tap, noise[1], losses=4)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("which", [0, 1], ids=["http", "rtsp"])
def test_twenty_kills_and_twenty_freezes_in_a_row(
    which: int, servers: list[Server], noise: tuple[Path, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    own = [servers[which]]
    taps = [started(own[0].url)]
    until(taps, lambda tap: tap.state == "live", BACK_S)
    play(taps, 2.0)
    process = psutil.Process()

    def weight() -> tuple[float, int]:
        """Megabytes, without the audio that the test itself keeps, and open descriptors."""
        kept = sum(block.nbytes for run in taps[0].runs for block in run)
        return (process.memory_info().rss - kept) / 1e6, process.num_fds()

    before = weight()
    lines = []
    for name, outage in (("kills", kill), ("freezes", freeze)):
        times = []
        for _ in range(20):
            noticed, back = outage(own, taps)
            play(taps, 1.0)
            times.append((noticed[0], back[0]))
        noticed_s, back_s = np.array(times).T
        lines.append(
            f"20 {name}: noticed p50 {np.median(noticed_s):.2f} s, max {noticed_s.max():.2f} s; "
            f"back p50 {np.median(back_s):.2f} s, max {back_s.max():.2f} s"
        )
    after = weight()
    assert_accounted(taps[0], noise[1], losses=40)
    lines.append(f"{taps[0].source.ring.stats().written} samples in {len(taps[0].runs)} runs, each exact")
    lines.append(f"RSS {before[0]:.1f} -> {after[0]:.1f} MB, descriptors {before[1]} -> {after[1]}")
    with capsys.disabled():
        print(f"\n{own[0].url.split(':')[0]}", *lines, sep="\n")
    assert after[1] <= before[1] + 2


def test_a_wrong_password_is_named_and_no_secret_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    server = FileServer(tmp_path / "files", login="eva:s3cret").start()
    shown = []
    try:
        make(server.folder / "a.wav", "-f", "lavfi", "-i", "sine=d=9")
        url = server.url.replace("//", "//eva@") + "/a.wav?token=t0ken"
        for password in ("wr0ng", "s3cret"):
            monkeypatch.setenv("STREAMER_SOURCE_PASSWORD", password)
            tap = started(url)
            if password == "wr0ng":
                until([tap], lambda tap: "(401)" in tap.detail, BACK_S)
                assert "refuses the user or the password (401); write user@ in the URL" in tap.detail
                assert tap.detail.endswith("it is tried again every 30 s.")
            else:
                until([tap], lambda tap: tap.state == "live", BACK_S)
            shown += [repr(tap.source.status()), tap.source.name]
            tap.source.stop()
        (tmp_path / "password").write_text("s3cret\n")
        open_once(parse_address(url), str(tmp_path / "password"))
    finally:
        server.kill()
    shown += [caplog.text, *capfd.readouterr()]
    assert not [word for word in ("wr0ng", "s3cret", "t0ken", "eva") if word in "".join(shown)]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FileServer]:
    """An HTTP server of a folder."""
    server = FileServer(tmp_path / "files").start()
    yield server
    server.kill()


def make(path: Path, *arguments: str) -> Path:
    subprocess.run([program("ffmpeg", "ffmpeg"), "-v", "error", "-y", *arguments, str(path)], check=True)
    return path


def test_a_stereo_m4a_at_48_khz_plays_to_its_end_at_the_pace_of_the_clock(files: FileServer) -> None:
    make(files.folder / "a.m4a", "-f", "lavfi", "-i", "sine=440:r=48000:d=3", "-ac", "2", "-movflags", "faststart")
    tap = started(f"{files.url}/a.m4a")
    until([tap], lambda tap: tap.state == "live", 5.0)
    assert tap.source.status().native_rate_hz == 48_000
    (ended_s,) = until([tap], lambda tap: tap.state == "ended", 6.0)
    assert ended_s > 2.0
    assert tap.written_s == pytest.approx(3.0, abs=0.05)
    assert len(tap.runs) == 1


def test_an_m4a_whose_index_comes_last_is_named_with_its_cure_where_its_server_cannot_seek(files: FileServer) -> None:
    make(files.folder / "a.m4a", "-f", "lavfi", "-i", "sine=440:r=48000:d=30", "-ac", "2")
    tap = started(f"{files.url}/a.m4a")
    until([tap], lambda tap: tap.state == "source lost", 6.0)
    assert "has its index at its end, and its server cannot send a part of a file; make it anew with" in tap.detail
    tap.source.stop()


def test_an_endless_wav_is_live(tmp_path: Path, noise: tuple[Path, np.ndarray]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/noise.wav"
    command = [program("ffmpeg", "ffmpeg"), "-v", "error", "-re", "-i", str(noise[0]), "-f", "wav", "-listen", "1", url]
    with subprocess.Popen(command) as server:
        try:
            tap = started(url)
            until([tap], lambda tap: tap.state == "live", BACK_S)
            until([tap], lambda tap: tap.source.status().effective_rate_hz is not None, 6.0)
        finally:
            server.kill()
    until([tap], lambda tap: tap.state == "source lost", NOTICED_S)
    tap.source.stop()


def test_a_server_over_tls_must_show_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = make_certificates(tmp_path)
    server = FileServer(tmp_path / "files", certificates).start()
    try:
        make(server.folder / "a.wav", "-f", "lavfi", "-i", "sine=d=1")
        address = parse_address(f"{server.url}/a.wav")
        with pytest.raises(StreamerError, match=r"if its certificate is self-signed, set SSL_CERT_FILE to a file"):
            open_once(address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        open_once(address)
    finally:
        server.kill()


def test_a_live_playlist_plays_without_a_gap_between_its_segments(files: FileServer) -> None:
    command = [
        program("ffmpeg", "ffmpeg"), "-v", "error", "-re", "-f", "lavfi", "-i", "sine=440:r=48000", "-c:a", "aac",
        "-f", "hls", "-hls_time", "0.5", "-hls_list_size", "4", str(files.folder / "live.m3u8"),
    ]  # fmt: skip
    with subprocess.Popen(command) as encoder:
        try:
            while not (files.folder / "live3.ts").exists():
                time.sleep(0.1)
            tap = started(f"{files.url}/live.m3u8")
            until([tap], lambda tap: tap.state == "live", 5.0)
            play([tap], 3.0)
        finally:
            encoder.kill()
    assert len(tap.runs) == 1
    tap.source.stop()


def test_what_can_never_play_is_named_with_its_cure(files: FileServer, servers: list[Server]) -> None:
    make(files.folder / "mute.mp4", "-f", "lavfi", "-i", "testsrc=d=1:r=5:s=64x64", "-c:v", "mpeg4")
    make(files.folder / "private.ts", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac")
    (files.folder / "spy.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{files.folder}/private.ts\n#EXT-X-ENDLIST\n")
    (files.folder / "page.html").write_text("<html>no audio</html>" * 100)
    for url, sentence in {
        f"{files.url}/mute.mp4": r"has no audio track; turn audio on at the source",
        f"{files.url}/nothing.mp3": r"does not exist at its server \(404\); check the path",
        f"{files.url}/page.html": r"delivers nothing that is audio; check the URL",
        f"{files.url}/spy.m3u8": r"delivers nothing that is audio; check the URL",  # it names a file of this machine
        f"{servers[1].url}-not": r"does not exist at its server \(404\); check the path",
        f"http://127.0.0.1:{free_port()}/a": r"refuses the connection; start its server",
        "http://radio.invalid:8000/live.ogg": r"has a host that is not known; check its name",
        "rtsp://camera.invalid/yard": r"has a host that is not known; check its name",
    }.items():
        with pytest.raises(StreamerError, match=f"^{url} {sentence}"):
            open_once(parse_address(url))


def test_a_camera_is_asked_for_its_sound_and_not_for_its_picture(
    tmp_path: Path, noise: tuple[Path, np.ndarray]
) -> None:
    server = RtspServer(tmp_path / "rtsp", noise[0], picture=True).start()
    try:
        tap = started(server.url)
        until([tap], lambda tap: tap.state == "live", BACK_S)
        tap.source.stop()
        connection = AvConnection(parse_address(server.url), over_tcp=False)
        assert [stream.type for stream in connection._container.streams] == ["audio"]
        connection.close()
    finally:
        server.kill()


def test_a_camera_sends_its_sound_inside_the_tcp_connection_and_a_lost_packet_is_a_gap(
    noise: tuple[Path, np.ndarray],
) -> None:
    with InterleavedRtsp(noise[1], "eva", "s3cret") as camera:
        camera.drop = frozenset({75})
        tap = started(camera.url.replace("//", "//eva:s3cret@"))
        until([tap], lambda tap: tap.state == "live", BACK_S)
        play([tap], 2.0)
        assert [transport.split(";")[0] for transport in camera.transports] == ["RTP/AVP/TCP"]  # one, and no picture's
        assert tap.source.status().overflow_events == 1
        assert_accounted(tap, noise[1], losses=1)
        with pytest.raises(StreamerError, match=r"refuses the user or the password \(401\)"):
            open_once(parse_address(camera.url.replace("//", "//eva:wr0ng@")))


def test_datagrams_of_mpeg_ts_and_of_rtp_play(tmp_path: Path) -> None:
    ports = free_port(), free_port() // 2 * 2
    sine = ["-v", "error", "-re", "-f", "lavfi", "-i", "sine=440:r=48000", "-c:a"]
    ffmpeg = program("ffmpeg", "ffmpeg")
    sdp = tmp_path / "talk.sdp"
    senders = [
        subprocess.Popen([ffmpeg, *sine, "aac", "-f", "mpegts", f"udp://127.0.0.1:{ports[0]}"]),
        subprocess.Popen([ffmpeg, *sine, "libopus", "-f", "rtp", "-sdp_file", str(sdp), f"rtp://127.0.0.1:{ports[1]}"]),
    ]
    try:
        while not sdp.exists() or not sdp.stat().st_size:
            time.sleep(0.05)
        taps = [started(f"udp://127.0.0.1:{ports[0]}"), started(str(sdp))]
        until(taps, lambda tap: tap.state == "live", BACK_S)
        play(taps, 1.0)
        assert [len(tap.runs) for tap in taps] == [1, 1]
    finally:
        for sender in senders:
            sender.kill()
            sender.wait()
    for tap in taps:
        tap.source.stop()


@pytest.fixture
def deaf() -> Iterator[str]:
    """Where connections are accepted by the kernel, and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_source_stops_within_a_second_while_an_open_hangs(scheme: str, deaf: str) -> None:
    tap = started(f"{scheme}://{deaf}/a")
    time.sleep(0.5)
    begun = time.monotonic()
    tap.source.stop()
    assert time.monotonic() - begun < 1.0
    assert tap.source.ring.stats().ended


def test_the_program_ends_in_order_while_an_open_hangs(deaf: str) -> None:
    code = (
        "import time\n"
        "from streamer.sources.open import open_source, parse_source\n"
        f"source = open_source(parse_source('rtsp://eva:s3cret@{deaf}/a'))\n"
        "source.start(); time.sleep(1.0); source.stop(); print('stopped', flush=True)\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")
    assert time.monotonic() - begun < 15.0
