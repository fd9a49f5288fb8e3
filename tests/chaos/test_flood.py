"""The embedded broker under everything rude at once: it stays small, audio stays whole, the honest are served."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from streamer.events import to_json
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import BrokerUrl, MqttSettings
from streamer.sources.demo import DEMO
from tests.chaos.table import Row
from tests.live.program import Streamer
from tests.publish.raw_client import RawClient, message
from tests.support.event_samples import transition
from tests.support.real_broker import eventually

MB = 1e6
GROWTH_MB = 30.0
HOP_S = 0.24
EVERY_S = 0.25  # between two transitions of the honest publisher


class Honest:
    """A publisher of transitions, and a subscriber that notes each of them; both are clients as users have them."""

    def __init__(self, url: str) -> None:
        self.received: list[bytes] = []
        self.sent = 0
        self.slowest_s = 0.0
        self._times: dict[bytes, float] = {}
        self._stop = threading.Event()
        self._listener = RawClient(BrokerUrl.parse(url).port, keepalive_s=0, timeout_s=600)
        self._listener.subscribe("streamer/honest/desk/transition")
        self._publisher = MqttPublisher(MqttSettings(url=url, node="honest"))
        self._threads = [threading.Thread(target=task, daemon=True) for task in (self._listen, self._publish)]

    def start(self) -> None:
        self._publisher.start()
        for thread in self._threads:
            thread.start()

    def _publish(self) -> None:
        while not self._stop.wait(EVERY_S):
            event = transition(self.sent)
            self._times[to_json(event).encode()] = time.monotonic()
            self._publisher.publish(event)
            self.sent += 1

    def _listen(self) -> None:
        while (got := self._listener.packet()) is not None:
            if got[0] >> 4 == 3:
                payload = message(got)[1]
                self.received.append(payload)
                self.slowest_s = max(self.slowest_s, time.monotonic() - self._times[payload])

    def finish(self, row: Row) -> None:
        """Stop publishing, wait for the last, and count."""
        self._stop.set()
        self._threads[1].join()
        with contextlib.suppress(AssertionError):
            eventually(lambda: len(set(self.received)) >= self.sent, 20)
        row.count = self.sent
        row.lost = self.sent - len(set(self.received))
        row.doubled = len(self.received) - len(set(self.received))
        row.slowest_s = self.slowest_s
        self._publisher.close()
        self._listener.socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()


@contextlib.contextmanager
def monitor(folder: Path, seconds: float) -> Iterator[Streamer]:
    """The real program in real time on the bundled speech, its broker open to all."""
    audio, rate_hz = soundfile.read(DEMO, dtype="int16")
    speech = folder / "speech.wav"
    soundfile.write(speech, np.resize(audio, round(seconds * rate_hz)), rate_hz)
    private = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"), str(folder))
    env = os.environ | private | {"STREAMER_MQTT__EMBEDDED_ACCESS": "open"}
    with Streamer("run", str(speech), "--headless", env=env) as program:
        program.until(lambda: program.of("window"))
        yield program


def broker_of(program: Streamer) -> psutil.Process:
    children = psutil.Process(program.process.pid).children()
    return next(child for child in children if "streamer.publish.broker_process" in child.cmdline())


def flood(folder: Path, seconds: float) -> None:
    with monitor(folder, seconds + 60) as program:
        url = json.loads(next(folder.rglob("brokers/*.json")).read_text())["url"]
        broker = broker_of(program)
        honest = Honest(url)
        honest.start()
        eventually(lambda: len(honest.received) > 3)
        before_mb = most_mb = broker.memory_info().rss / MB
        command = [sys.executable, "-m", "tests.chaos.rude_clients", str(BrokerUrl.parse(url).port), str(seconds)]
        rude = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while rude.poll() is None:
            most_mb = max(most_mb, broker.memory_info().rss / MB)
            time.sleep(0.2)
        assert rude.stdout is not None
        with rude.stdout as output:
            done = json.loads(output.read())
        row = Row(f"honest transitions, a flood of {seconds:g} s")
        honest.finish(row)
        assert broker_of(program) == broker, "it never died"
        windows = program.of("window")
        assert program.end() == 0
    ends_s = [window["end_s"] for window in windows]
    skipped = sum(round((end - start) / HOP_S) - 1 for start, end in pairwise(ends_s))
    latency_ms = np.percentile([window["latency_ms"] for window in windows], 95)
    print(
        f"\nThe flood: {done}; memory of the broker {before_mb:.1f} MB before, {most_mb:.1f} MB at most; "
        f"{len(windows)} windows, {skipped} skipped, p95 of their latency {latency_ms:.0f} ms"
    )
    row.check()
    assert most_mb < before_mb + GROWTH_MB
    assert skipped == 0


@pytest.mark.slow
def test_a_flood_of_ten_seconds(tmp_path: Path) -> None:
    flood(tmp_path, 10.0)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_a_flood_of_five_minutes(tmp_path: Path) -> None:
    flood(tmp_path, 300.0)
