"""A microphone that is unplugged, suspended or swapped, a program that is stopped.

It is back within two seconds, and every missing sample is in a counter.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from streamer.bench.virtual_microphone import SINK
from tests.chaos.table import SEED, Row
from tests.live.program import Streamer, events, write_config
from tests.support.real_audio import VirtualMicrophone
from tests.support.real_broker import Listener, Mosquitto

pytestmark = pytest.mark.real

# A device that is there and silent has 3 s to begin, before it is opened again.
BACK_S = {"unplugged": 2.0, "suspended": 5.0, "moved": 2.0, "program stopped": 2.0}
EXACT_S = 0.1  # of a counter of seconds: the sound server delivers in blocks of 50 ms
_KNOWN_S = 4.0  # until what a device left out for less than a second is known for sure, and said
_SETTLE_S = 5.0  # until the capture clock is sure of itself


def captured_s(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


class Account:
    """Holds what the program counted against the clock: time that passed = audio that came + gaps."""

    def __init__(self, program: Streamer, listener: Listener) -> None:
        self._program, self._listener = program, listener
        self._first = program.of("window")[-1]
        self._apart_s = self.counted_s()

    def missing_s(self) -> float:
        """Seconds up to the newest window that are in no window."""
        newest = self._program.of("window")[-1]
        return captured_s(newest) - captured_s(self._first) - (newest["end_s"] - self._first["end_s"])

    def counted_s(self) -> float:
        """The newest `gap_s`, which comes every second."""
        return float(events(self._listener, "health")[-1]["gap_s"])

    def uncounted_s(self) -> float:
        """Seconds that are missing since the last call, and not counted; negative where too many are counted."""
        before_s, self._apart_s = self._apart_s, self.counted_s() - self.missing_s()
        return before_s - self._apart_s


def unplug(microphone: VirtualMicrophone, program: Streamer, seconds: float) -> None:
    microphone.unplug()
    time.sleep(seconds)
    microphone.plug_in()


def stop_the_program(microphone: VirtualMicrophone, program: Streamer, seconds: float) -> None:
    program.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    program.process.send_signal(signal.SIGCONT)


def suspend(microphone: VirtualMicrophone, program: Streamer, seconds: float) -> None:
    microphone.pactl("suspend-sink", SINK, "1")
    time.sleep(seconds)
    microphone.pactl("suspend-sink", SINK, "0")


def move(microphone: VirtualMicrophone, program: Streamer, seconds: float) -> None:
    """The sound server lets the program record another source for a while, which then goes away."""
    other = microphone.pactl("load-module", "module-null-sink", "sink_name=other", "norewinds=1").strip()
    microphone.pactl("move-source-output", microphone.recordings().split()[0], "other.monitor")
    time.sleep(seconds)
    microphone.pactl("unload-module", other)  # without a silent source to go to, the recording ends


FAULTS: dict[str, Callable[[VirtualMicrophone, Streamer, float], None]] = {
    "unplugged": unplug,
    "suspended": suspend,
    "moved": move,
    "program stopped": stop_the_program,
}


def first_after(program: Streamer, moment_s: float) -> float:
    """Wait for audio captured after `moment_s`; return when the first of it was, in seconds after that."""
    program.until(lambda: captured_s(program.of("window")[-1]) > moment_s, 30)
    first = next(window for window in program.of("window") if captured_s(window) > moment_s)
    program.until(lambda: program.of("health")[-1]["status"] not in ("mic lost", "behind"), 30)
    return captured_s(first) - moment_s


def campaign(what: str, count: int, folder: Path) -> None:
    rng, row = random.Random(f"{SEED} {what}"), Row(f"microphone {what}", count=count)
    broker = Mosquitto(folder).start()
    listener = Listener(broker.port, ["streamer/+/+/health"])
    options = ("--mqtt", broker.url, "--config", write_config(folder, "[mqtt]\nhealth_s = 1.0\n"))
    with (
        contextlib.ExitStack() as stack,
        VirtualMicrophone() as microphone,
        Streamer("run", "mic", "--headless", *options, env=microphone.env) as program,
    ):
        stack.callback(broker.stop)
        stack.callback(listener.close)
        program.until(lambda: program.of("window") and program.of("window")[-1]["end_s"] > _SETTLE_S)
        account, away_s, apart_s = Account(program, listener), 0.0, []
        for _ in range(count):
            time.sleep(rng.uniform(1.0, 3.0))
            seconds = rng.uniform(*rng.choice(((0.5, 1.0), (0.5, 20.0))))
            away_s += seconds
            FAULTS[what](microphone, program, seconds)
            took_s = first_after(program, time.time())
            row.slowest_s = max(row.slowest_s, took_s)
            row.hung += took_s > BACK_S[what]
            time.sleep(_KNOWN_S)
            apart_s.append(account.uncounted_s())
        row.lost = sum(seconds > EXACT_S for seconds in apart_s)  # too much is counted where the first block comes late
        windows = program.of("window")
        row.crashed = sum(w["seq"] != number for number, w in enumerate(windows))
        print(
            f"\nAway for {away_s:.1f} s; {account.missing_s():.2f} s without audio, "
            f"{account.counted_s():.2f} s counted; apart: {', '.join(f'{apart:+.3f}' for apart in apart_s)} s"
        )
        assert sum(w["dropped_samples"] for w in windows) == 0
        assert program.end() == 0
    row.check()


@pytest.mark.slow
def test_two_moments_without_audio(tmp_path: Path) -> None:
    campaign("suspended", 2, tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("what", FAULTS)
def test_fifty_faults(what: str, tmp_path: Path) -> None:
    campaign(what, int(os.environ.get("CHAOS_COUNT", "50")), tmp_path)
