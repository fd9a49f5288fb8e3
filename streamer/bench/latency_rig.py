"""Run `streamer bench --latency`: the monitor's parts between a virtual microphone and a subscriber."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from streamer.bench.latency import Conditions, LatencyReport, report
from streamer.bench.local_broker import LocalBroker
from streamer.bench.program import end
from streamer.bench.stopwatch import StopwatchPortAudio, StopwatchRing, StopwatchStep
from streamer.bench.virtual_microphone import VirtualMicrophone
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.pipeline.build import build_inference, stream_settings
from streamer.pipeline.sink import EventSink
from streamer.pipeline.worker import Worker
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from streamer.settings import Settings
from streamer.sources.microphone import Microphone

PLAYER_RATE = 48_000  # Hz
BLOCK_S = 0.01  # audio written to the player at once
CLICK_S = 0.001
CLICK_AMPLITUDE = 0.8
CLICK_DISTANCE_S = 0.4  # the least time between two clicks …
CLICK_SPREAD_S = 0.24  # … plus a random share of this: clicks fall on every phase of a hop
START_S = 30.0
LEAD_S = 3.0  # before the first click: sound servers fill their buffers, the capture clock settles
TAIL_S = 1.5  # after the last click, for its window

OnClick = Callable[[int, int], None]  # clicks played, clicks in all


def measure_latency(clicks: int, on_click: OnClick) -> LatencyReport:
    """Play `clicks` clicks, about two a second, with the default settings, and report.

    Raises:
        StreamerError: PulseAudio or PortAudio is missing, no audio is captured, or messages are lost.
    """
    settings = Settings()
    with ExitStack() as stack:
        microphone = stack.enter_context(VirtualMicrophone())
        broker = stack.enter_context(LocalBroker())
        stack.enter_context(microphone.environment())
        rig = _Rig(settings, broker.url)
        arrivals = stack.enter_context(_Arrivals(broker.url, rig.topic))
        player = microphone.player(PLAYER_RATE)
        stack.callback(end, player)
        rig.start()
        stack.callback(rig.stop)
        train = _Train(player, clicks)
        train.thread.start()
        rig.wait_for_first_message(arrivals)
        time.sleep(LEAD_S)
        first = len(rig.step.emitted)
        for number in range(clicks):
            train.play.set()
            train.played.acquire()
            on_click(number + 1, clicks)
        time.sleep(TAIL_S)
        train.over.set()
        last = len(rig.step.emitted)
        time.sleep(TAIL_S)  # for the messages of these windows
        if rig.ring.broken or rig.microphone.status().overflow_events:
            raise StreamerError("Audio was lost during the run; measure on a machine that is less busy.")
        conditions = Conditions(
            broker=broker.name,
            microphone="a null sink of PulseAudio",
            torch_device=rig.torch_device,
            hop_ms=1000 * settings.window.hop_s,
            block_ms=settings.audio.block_ms,
            stated_device_latency_ms=rig.stated_latency_ms,
        )
        emitted = rig.step.emitted[first:last]
        return report(conditions, rig.ring.writes, emitted, arrivals.seen_s, train.played_s, rig.ring.clicks)


class _Rig:
    """The monitor's parts, connected as in `streamer run mic --headless`, with a stopwatch between them."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._portaudio = StopwatchPortAudio()
        wake = threading.Event()
        self.ring = StopwatchRing(round(settings.audio.ring_s * SAMPLE_RATE), wake, self._portaudio.calls_s)
        self.microphone = Microphone("mic", None, self.ring, None, settings.audio.block_ms, portaudio=self._portaudio)
        mqtt = MqttSettings(url, node="bench")
        self.topic = f"{mqtt.prefix}/{mqtt.node}/{self.microphone.name}/window"
        self._publisher = MqttPublisher(mqtt)
        self.step = StopwatchStep(self.ring, self._publisher.publish)
        inference = build_inference(settings, rows=1)
        self.step.watch(inference)
        self.torch_device = str(inference.device)
        self._worker = Worker(
            inference,
            [self.microphone],
            stream_settings(settings, inference.model),
            sink=EventSink(self.step.send),
            wake=wake,
        )
        self._thread = threading.Thread(target=self._worker.run, name="worker", daemon=True)

    @property
    def stated_latency_ms(self) -> float | None:
        stated_s = self._portaudio.stated_latency_s
        return None if stated_s is None else 1000 * stated_s

    def start(self) -> None:
        self._publisher.start()
        self.microphone.start()
        self._thread.start()

    def stop(self) -> None:
        self.microphone.stop()
        self._worker.stop()
        self._thread.join(5.0)
        self._publisher.close()

    def wait_for_first_message(self, arrivals: "_Arrivals") -> None:
        """Wait until a message has arrived; raise StreamerError after START_S."""
        deadline = time.monotonic() + START_S
        while not arrivals.seen_s:
            if time.monotonic() > deadline:
                why = self.microphone.status().detail or self._publisher.stats().detail or "the reason is unknown."
                raise StreamerError(
                    f"No message came from the virtual microphone (is libasound2-plugins installed?): {why}"
                )
            time.sleep(0.05)


class _Arrivals:
    """The subscriber's process; `seen_s` holds the arrival time of each window's message."""

    def __init__(self, url: str, topic: str) -> None:
        self.seen_s: dict[int, float] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamer.bench.arrivals", url, topic],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "_Arrivals":
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            self.__exit__()
            raise StreamerError("The subscriber does not reach the broker; end the program that uses its port.")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
        if self._thread.ident is not None:
            self._thread.join(5.0)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            arrival = json.loads(line)
            self.seen_s[arrival["event"]["seq"]] = arrival["arrived_s"]


@dataclass
class _Train:
    """Writes to the player in real time: silence, and a click on request, never too close to the one before."""

    player: "subprocess.Popen[bytes]"
    clicks: int
    play: threading.Event = field(default_factory=threading.Event)
    played: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    over: threading.Event = field(default_factory=threading.Event)
    played_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="player", daemon=True)

    def _run(self) -> None:
        silence = np.zeros(round(PLAYER_RATE * BLOCK_S), dtype="<i2")
        click = silence.copy()
        click[: round(PLAYER_RATE * CLICK_S)] = round(32_767 * CLICK_AMPLITUDE)
        random = np.random.default_rng(20261122)
        pipe = self.player.stdin
        assert pipe is not None
        due_s = click_due_s = time.monotonic()
        while not self.over.is_set():
            now_s = time.monotonic()
            clicks = self.play.is_set() and now_s >= click_due_s
            try:
                pipe.write((click if clicks else silence).tobytes())
                pipe.flush()
            except (OSError, ValueError):  # the player has ended
                return
            if clicks:
                self.played_s.append(now_s)
                self.play.clear()
                click_due_s = now_s + CLICK_DISTANCE_S + CLICK_SPREAD_S * random.random()
                self.played.release()
            due_s += BLOCK_S
            time.sleep(max(0.0, due_s - time.monotonic()))
