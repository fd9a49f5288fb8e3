"""The real program on a stream of Icecast that is killed and comes back."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from streamer.sources.demo import DEMO
from tests.live.program import LIVELY, Streamer, write_config
from tests.support.real_streams import Icecast, program

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]


def test_a_network_source_is_lost_and_found_and_its_password_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    subprocess.run([program("ffmpeg", "ffmpeg"), "-v", "error", "-i", str(DEMO), str(speech)], check=True)
    server = Icecast(tmp_path / "icecast", speech).start()
    url = server.url.replace("//", "//eva@")
    config = write_config(tmp_path, LIVELY + "[mqtt]\nhealth_s = 1.0\n")
    env = {**os.environ, "STREAMER_SOURCE_PASSWORD": "s3cret"}
    try:
        with Streamer("run", url, "--headless", "--mqtt", "off", "--config", config, env=env) as streamer:
            streamer.until(lambda: [window for window in streamer.of("window") if not window["warming"]])
            assert "s3cret" not in Path(f"/proc/{streamer.process.pid}/cmdline").read_text()
            server.kill()
            streamer.until(lambda: streamer.of("health")[-1]["status"] == "source lost", 5.0)
            time.sleep(1.0)  # for the windows that were on their way
            before = len(streamer.of("window"))
            server.start()
            streamer.until(lambda: len(streamer.of("window")) > before, 10.0)
            first = streamer.of("window")[before]
            # It may be full already: a server sends a burst, of which only the newest window is classified.
            assert first["start_s"] >= streamer.of("window")[before - 1]["end_s"]
            assert first["stream"] == "127-0-0-1-noise-ogg"
            assert streamer.of("health")[-1]["device"] == server.url
            server.freeze()
            streamer.until(lambda: streamer.of("health")[-1]["status"] == "source lost", 6.0)
            begun = time.monotonic()
            assert streamer.end(signal.SIGTERM) == 0
            assert time.monotonic() - begun < 5.0
            written = "".join(streamer.errors) + repr(streamer.events)
    finally:
        server.kill()
    assert [word for word in ("s3cret", "eva", "Traceback") if word in written] == []
