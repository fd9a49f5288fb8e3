"""From a microphone to a subscriber: real PortAudio, real PulseAudio, real Mosquitto, the real program."""

import json
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from jsonschema import Draft202012Validator

from streamer.events.schema import SCHEMA_FILE
from streamer.sources.demo import DEMO
from tests.live.program import Streamer, events
from tests.support.real_audio import VirtualMicrophone
from tests.support.real_broker import Listener, Mosquitto

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]
LOUD_DBFS = -40.0
SCHEMA = Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


@pytest.fixture
def burst(tmp_path: Path) -> Path:
    """One second of 1 kHz."""
    path = tmp_path / "burst.wav"
    t = np.arange(48_000) / 48_000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 1_000 * t), 48_000)
    return path


def seconds(event: dict) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def test_a_burst_played_at_a_known_moment_lies_in_windows_of_that_time(tmp_path: Path, burst: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    listener = Listener(broker.port, ["streamer/#"])
    try:
        with (
            VirtualMicrophone() as microphone,
            Streamer("run", "mic", "--headless", "--mqtt", broker.url, env=microphone.env) as program,
        ):
            program.until(lambda: events(listener, "window"))
            played = time.time()
            microphone.play(burst)
            program.until(lambda: seconds(events(listener, "window")[-1]) > played + 2.5)
            windows = events(listener, "window")
            loud = [w for w in windows if w["rms_dbfs"] > LOUD_DBFS]
            # A window carries the level of its newest hop (0.24 s), so the loud ones end up to a hop after the burst.
            assert played - 0.3 <= seconds(loud[0]) <= played + 0.24 + 0.3
            assert played + 1.0 - 0.3 <= seconds(loud[-1]) <= played + 1.0 + 0.24 + 0.3
            assert [w["seq"] for w in windows] == list(range(windows[0]["seq"], windows[0]["seq"] + len(windows)))
            for kind in ("window", "state", "health", "info"):
                assert events(listener, kind)
                assert [error for message in events(listener, kind) for error in SCHEMA.iter_errors(message)] == []
            assert program.end() == 0
            assert listener.payloads("/availability")[-1] == "offline"
    finally:
        listener.close()
        broker.kill()


def test_speech_from_a_microphone_is_detected_as_speech(tmp_path: Path) -> None:
    audio, rate = soundfile.read(DEMO, frames=24_000 * 6)
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, audio, rate)
    with (
        VirtualMicrophone() as microphone,
        Streamer("run", "mic", "--headless", "--mqtt", "off", env=microphone.env) as program,
    ):
        program.until(lambda: program.of("window"))
        microphone.play(speech)
        program.until(lambda: any(w["speech"] > 0.5 and w["probs"] for w in program.of("window") if not w["warming"]))
        full = [w for w in program.of("window") if not w["warming"]]
        assert full[-1]["end_s"] * 24_000 == pytest.approx(round(full[-1]["end_s"] * 24_000), abs=1e-6)


@pytest.mark.parametrize("always_sink", [False, True], ids=["the source ends", "the server moves us to silence"])
def test_an_unplugged_microphone_is_noticed_and_comes_back_by_itself(burst: Path, always_sink: bool) -> None:
    with (
        VirtualMicrophone(always_sink=always_sink) as microphone,
        Streamer("run", "mic", "--headless", "--mqtt", "off", env=microphone.env) as program,
    ):
        program.until(lambda: program.of("window"))
        microphone.play(burst)
        microphone.unplug()
        program.until(lambda: program.of("health")[-1]["status"] in ("mic lost", "no signal"), 20)
        microphone.plug_in()
        if not always_sink:
            microphone.pactl("set-default-source", "vmic.monitor")
        back = time.time()
        program.until(lambda: _burst_arrives(microphone, burst, program, back), 60)
        windows = program.of("window")
        assert [w["seq"] for w in windows] == list(range(len(windows)))
        assert sum(w["dropped_samples"] for w in windows) == 0
        times = [seconds(w) for w in windows]
        assert times == sorted(times)


def _burst_arrives(microphone: VirtualMicrophone, burst: Path, program: Streamer, since: float) -> bool:
    microphone.play(burst)
    time.sleep(0.5)
    return any(w["rms_dbfs"] > LOUD_DBFS and seconds(w) > since for w in program.of("window"))
