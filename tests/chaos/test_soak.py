"""Hours of the whole program with a random fault a minute: flat in memory and descriptors, every loss counted.

An hour live, on a virtual microphone; ten hours of audio with `--fast`, from a pipe. Both record, and publish to a real
Mosquitto. `CHAOS_MINUTES` sets the length: of the clock live, of audio with `--fast`.
"""

import contextlib
import json
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
import soundfile

from streamer.bench.program import Program, Usage, end
from streamer.bench.soak_audit import Audit
from streamer.bench.virtual_microphone import SINK
from streamer.constants import SAMPLE_RATE
from streamer.sources.demo import DEMO
from tests.chaos.mutations import mutate_bytes
from tests.chaos.table import SEED, Row
from tests.publish.raw_client import RawClient, publish_packet
from tests.support.real_audio import VirtualMicrophone
from tests.support.real_broker import Mosquitto, eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(8 * 3_600)]

HOP_SAMPLES = 5_760
ROW_S = 60.0
GROWTH_MB = 20.0  # over the second half; by then allocators have what some twenty reopened devices make them take
_HANG_S = 300.0  # without an event, on a busy machine; no fault lasts a tenth as long
_UNCOUNTED_S = 0.25  # of all audio that is missing: what may come late, and holes of less than 0.1 s
_TOO_MUCH_S = 0.1  # that may be counted at one gap: the first block behind it may come late
_QUIET_DBFS = -75.0


@dataclass
class Soak:
    """One program under observation; everything it said is kept as little as the verdict needs."""

    program: Program
    broker: Mosquitto
    rng: random.Random
    audit: Audit = field(default_factory=lambda: Audit(HOP_SAMPLES))
    said: list[str] = field(default_factory=list)  # transitions, as JSON
    heard: list[str] = field(default_factory=list)  # those that came through the broker
    rows: list[Usage] = field(default_factory=list)
    faults: int = 0
    slowest_s: float = 0.0
    apart_s: list[float] = field(default_factory=list)  # a row: what the clock says and audio and gaps do not add up to
    _apart_s: float = math.inf  # of this row; the least, for audio can come late and never early

    def take(self, within_s: float) -> bool:
        """Take the next event; return whether one came in time. Raises EOFError where the program has ended."""
        line = self.program.line(within_s)
        if line is None:
            return False
        event = line.event
        match event["type"]:
            case "window":
                self.audit.record_window(event, line.epoch_s)
                if self.audit.health:
                    heard_s = event["end_s"] + (self.audit.health["gap_s"] or 0.0)
                    self._apart_s = min(self._apart_s, _time_s(event) - heard_s)
            case "health":
                self.audit.record_health(event)
            case "transition":
                self.said.append(_identity(event))
        return True

    def take_until(self, what: Callable[[], bool], within_s: float = _HANG_S) -> None:
        """Take events until `what` is true; they must keep coming."""
        came_s = time.monotonic()
        while not what():
            if self.take(0.1):
                came_s = time.monotonic()
            assert time.monotonic() < came_s + within_s, f"no event; {self.program.last_message()}"

    def take_to_the_end(self) -> int:
        """Take all that is still to come; return the exit code."""
        with contextlib.suppress(EOFError):
            self.take_until(lambda: False)
        return self.program.process.wait(30)

    def fault(self, faults: dict[str, Callable[["Soak"], None]]) -> None:
        """Commit one of `faults`, and wait until audio flows again."""
        name = self.rng.choice(list(faults))
        faults[name](self)
        over_s = time.monotonic()
        while self.take(0.0):  # what came during the fault
            pass
        before = self.audit.windows
        self.take_until(lambda: self.audit.windows > before)
        took_s = time.monotonic() - over_s
        self.slowest_s = max(self.slowest_s, took_s)
        self.faults += 1
        print(f"  {name}: audio flows {took_s:.2f} s later", flush=True)

    @property
    def uncounted_s(self) -> float:
        """Live: seconds missing up to the newest row, and not counted; negative where too many are counted."""
        return self.apart_s[-1] - self.apart_s[0]

    def note(self) -> None:
        """Note what the program uses now."""
        usage = self.program.usage()
        self.rows.append(usage)
        self.apart_s.append(self._apart_s)
        self._apart_s = math.inf
        print(
            f"{self.audit.position / SAMPLE_RATE / 60:7.1f} min of audio, {usage.rss_mb:.0f} MB, "
            f"{usage.open_files} files, {usage.threads} threads, {len(self.said)} transitions, {self.audit.gaps} gaps"
            + ("" if self.audit.health["latency_p50_ms"] is None else f", {self.uncounted_s:+.3f} s uncounted"),
            flush=True,
        )


def _identity(event: dict[str, Any]) -> str:
    return f"{event['event_type']} {event['id']}"


@contextlib.contextmanager
def listening(port: int, heard: list[str]) -> Iterator[None]:
    """A client that notes the transitions of all streams."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="listener")
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda client, *_: client.subscribe("streamer/+/+/transition", 1)
    client.on_message = lambda client, data, message: heard.append(_identity(json.loads(message.payload)))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def speech_and_silence(rng: random.Random) -> Iterator[bytes]:
    """Seconds of s16le PCM at 24 kHz without end: pieces of the bundled speech, and of a quiet room."""
    speech, rate_hz = soundfile.read(DEMO, dtype="int16")
    assert rate_hz == SAMPLE_RATE
    noise = np.random.default_rng(rng.randrange(2**32))
    at = 0
    while True:
        for _ in range(rng.randint(5, 60)):
            yield np.take(speech, range(at, at + SAMPLE_RATE), mode="wrap").astype("<i2").tobytes()
            at = (at + SAMPLE_RATE) % len(speech)
        for _ in range(rng.randint(5, 90)):
            room = noise.normal(0.0, 32_768 * 10 ** (_QUIET_DBFS / 20), SAMPLE_RATE)
            yield room.astype("<i2").tobytes()


def stop_the_program(soak: Soak) -> None:
    soak.program.process.send_signal(signal.SIGSTOP)
    time.sleep(soak.rng.uniform(0.5, 10.0))
    soak.program.process.send_signal(signal.SIGCONT)


def kill_the_broker(soak: Soak) -> None:
    soak.broker.kill()
    time.sleep(soak.rng.uniform(0.0, 3.0))
    soak.broker.start()


def freeze_the_broker(soak: Soak) -> None:
    soak.broker.freeze()
    time.sleep(soak.rng.uniform(0.5, 15.0))
    soak.broker.thaw()


def send_nonsense(soak: Soak) -> None:
    """Mutated messages on everything that the program listens to."""
    topics = [f"streamer/{node}/{rest}" for node in ("n", "x") for rest in ("presence", "availability", "mic/mute/set")]
    with contextlib.closing(RawClient(soak.broker.port)) as client:
        for _ in range(200):
            payload = mutate_bytes(b'{"client": "a", "since": 1795365005.12, "hello": true}', soak.rng)
            client.send(publish_packet(soak.rng.choice(topics), payload))


COMMON: dict[str, Callable[[Soak], None]] = {
    "program stopped": stop_the_program,
    "broker killed": kill_the_broker,
    "broker frozen": freeze_the_broker,
    "nonsense sent": send_nonsense,
}


def judge(soak: Soak, row: Row, folder: Path) -> None:
    """Compare what was said, heard and recorded, and the first rows with the last."""
    audit, settled = soak.audit, soak.rows[len(soak.rows) // 2 :]
    kept = [
        _identity(event)
        for path in sorted(folder.glob("*.jsonl"))
        for event in map(json.loads, path.read_text().splitlines())
        if event["type"] == "transition"
    ]
    said = set(soak.said)
    row.count = soak.faults
    row.lost = len(said - set(soak.heard)) + len(said ^ set(kept)) + audit.uncounted
    row.doubled = len(soak.said) - len(said) + len(kept) - len(set(kept)) + len(set(soak.heard) - said)
    row.crashed = audit.inexact + audit.disordered
    row.slowest_s = soak.slowest_s
    repeated = len(soak.heard) - len(set(soak.heard))
    growth_mb = max(usage.rss_mb for usage in settled) - settled[0].rss_mb
    print(
        f"\n{audit.position / SAMPLE_RATE / 3600:.2f} h of audio, {audit.windows:,} windows, {audit.gaps} gaps, "
        f"{audit.health['skipped_windows']} skipped, {audit.dropped:,} samples overwritten, "
        f"{audit.uncounted} uncounted, {audit.inexact} inexact, {len(said):,} transitions, {repeated} repeated; "
        f"memory {soak.rows[0].rss_mb:.0f} MB, {settled[0].rss_mb:.0f} MB at half time, {growth_mb:+.1f} MB since; "
        f"files {soak.rows[0].open_files}, {settled[0].open_files} to "
        f"{settled[-1].open_files}, threads {settled[0].threads} to {settled[-1].threads}"
    )
    row.check()
    assert growth_mb <= GROWTH_MB
    assert settled[-1].open_files <= settled[0].open_files + 1
    assert settled[-1].threads <= settled[0].threads + 1


@contextlib.contextmanager
def soaking(stack: ExitStack, folder: Path, *arguments: str, **options: Any) -> Iterator[Soak]:
    """The program, recording into `folder`/events and publishing to a Mosquitto that a listener hears, too."""
    broker = Mosquitto(folder).start()
    stack.callback(broker.stop)
    config = f'[record]\nfolder = "{folder / "events"}"\nwindow_every = 100\n[mqtt]\nnode = "n"\n'
    program = stack.enter_context(Program(*arguments, "--mqtt", broker.url, config=config, **options))
    soak = Soak(program, broker, random.Random(f"{SEED} soak {arguments[0]}"))
    stack.enter_context(listening(broker.port, soak.heard))
    yield soak


def feed(stdin: Any, blocks: Iterable[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):  # it has ended
        for block in blocks:
            stdin.write(block)
        stdin.close()


def unplug(soak: Soak, microphone: VirtualMicrophone) -> None:
    microphone.unplug()
    time.sleep(soak.rng.uniform(0.5, 20.0))
    microphone.plug_in()


def suspend(soak: Soak, microphone: VirtualMicrophone) -> None:
    microphone.pactl("suspend-sink", SINK, "1")
    time.sleep(soak.rng.uniform(0.5, 8.0))
    microphone.pactl("suspend-sink", SINK, "0")


def live(folder: Path, minutes: float) -> None:
    with ExitStack() as stack:
        microphone = stack.enter_context(VirtualMicrophone())
        soak = stack.enter_context(soaking(stack, folder, "mic", env=microphone.env))
        stop = threading.Event()
        talk = threading.Thread(target=keep_talking, args=(microphone, soak.rng.random(), stop), daemon=True)
        talk.start()
        soak.take_until(lambda: soak.audit.position > 10 * SAMPLE_RATE, 240)
        soak.note()
        faults = COMMON | {
            "unplugged": lambda soak: unplug(soak, microphone),
            "suspended": lambda soak: suspend(soak, microphone),
        }
        for _ in range(round(minutes)):
            begins_s = time.monotonic() + soak.rng.uniform(0.0, 15.0)
            ends_s = time.monotonic() + ROW_S
            soak.take_until(partial(_is_past, begins_s))
            soak.fault(faults)
            soak.take_until(partial(_is_past, ends_s))
            soak.note()
        stop.set()
        soak.program.process.send_signal(signal.SIGTERM)
        assert soak.take_to_the_end() == 0
        with contextlib.suppress(AssertionError):
            eventually(lambda: set(soak.said) <= set(soak.heard), 5)
        judge(soak, Row(f"soak, live, {minutes:g} min"), folder / "events")
        assert -_TOO_MUCH_S * soak.audit.gaps <= soak.uncounted_s <= _UNCOUNTED_S


def _is_past(moment_s: float) -> bool:
    return time.monotonic() >= moment_s


def keep_talking(microphone: VirtualMicrophone, seed: float, stop: threading.Event) -> None:
    """Play speech and silence, with another player whenever one has ended because the sink is gone."""
    blocks = speech_and_silence(random.Random(seed))
    while not stop.is_set():
        player = microphone.player(SAMPLE_RATE)
        assert player.stdin is not None
        with contextlib.suppress(OSError):
            for block in blocks:
                player.stdin.write(block)
                if stop.is_set():
                    break
        end(player)
        stop.wait(0.5)


def _time_s(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def fast(folder: Path, minutes: float) -> None:
    seconds = round(60 * minutes)
    arguments = ("-", "--fast", "--format", "s16le", "--rate", str(SAMPLE_RATE))
    with ExitStack() as stack:
        soak = stack.enter_context(soaking(stack, folder, *arguments, piped=True))
        flows = threading.Event()
        flows.set()

        def blocks() -> Iterator[bytes]:
            for _, block in zip(range(seconds), speech_and_silence(random.Random(f"{SEED} fast")), strict=False):
                flows.wait()
                yield block

        def stall(soak: Soak) -> None:
            flows.clear()
            time.sleep(soak.rng.uniform(0.5, 10.0))
            flows.set()

        threading.Thread(target=feed, args=(soak.program.process.stdin, blocks()), daemon=True).start()
        soak.take_until(lambda: soak.audit.windows > 0, 240)
        last = (seconds - 60) * SAMPLE_RATE  # no fault when nearly all has been read
        while soak.audit.position < last:
            soak.fault(COMMON | {"pipe stalled": stall})
            ends_s = time.monotonic() + ROW_S
            soak.take_until(lambda ends_s=ends_s: _is_past(ends_s) or soak.audit.position >= last)  # type: ignore[misc]
            soak.note()
        assert soak.take_to_the_end() == 0
        with contextlib.suppress(AssertionError):
            eventually(lambda: set(soak.said) <= set(soak.heard), 5)
        assert soak.audit.position == seconds * SAMPLE_RATE
        judge(soak, Row(f"soak, fast, {minutes / 60:g} h"), folder / "events")


@pytest.mark.campaign
def test_an_hour_live(tmp_path: Path) -> None:
    live(tmp_path, float(os.environ.get("CHAOS_MINUTES", "60")))


@pytest.mark.campaign
def test_ten_hours_fast(tmp_path: Path) -> None:
    fast(tmp_path, float(os.environ.get("CHAOS_MINUTES", "600")))
