"""The microphone for real: PulseAudio, ALSA and PortAudio, with a null sink as the device."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.real_audio import VirtualMicrophone

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
BURST_S = 0.5
RATE = 24_000


class RecorderProcess:
    """`record_source.py` as a subprocess that records from `microphone`."""

    def __init__(self, microphone: VirtualMicrophone, source: str, result: Path) -> None:
        self._result = result
        self._lines: queue.Queue[dict[str, str]] = queue.Queue()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("record_source.py")), source, str(result)],
            env=microphone.env | {"PYTHONPATH": path},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def wait_for(self, *states: str, timeout_s: float = 20.0) -> dict[str, str]:
        deadline = time.monotonic() + timeout_s
        while (status := self._lines.get(timeout=max(0.0, deadline - time.monotonic())))["state"] not in states:
            pass
        return status

    def say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def stop_for(self, seconds: float) -> None:
        """Stop the process as a suspended machine does, and let it go on."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def finish(self) -> dict[str, np.ndarray]:
        self.say("stop")
        self._process.wait(timeout=10.0)
        self.close()
        with np.load(self._result) as result:
            return dict(result)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def burst(tmp_path: Path) -> Path:
    """Half a second of 1 kHz; beside it `long.wav`, twenty seconds of 3 kHz."""
    path = tmp_path / "burst.wav"
    soundfile.write(tmp_path / "long.wav", 0.5 * np.sin(2 * np.pi * 3_000 * np.arange(20 * 48_000) / 48_000), 48_000)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(round(BURST_S * 48_000)) / 48_000), 48_000)
    return path


@pytest.fixture
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[VirtualMicrophone, RecorderProcess]]:
    always_sink, source = request.param
    with VirtualMicrophone(always_sink=always_sink) as microphone:
        recorder = RecorderProcess(microphone, source, tmp_path / "captured.npz")
        yield microphone, recorder
        recorder.close()


def onsets(captured: dict[str, np.ndarray]) -> list[float]:
    """When bursts began, by the ring's time: the first loud 10 ms after 0.2 s without."""
    count = min(len(captured["times"]), len(captured["samples"]) // 240)  # before a gap there may be less than a block
    blocks = captured["samples"][: count * 240].reshape(-1, 240)
    loud = np.abs(blocks).max(axis=1) > 0.05
    return [
        float(captured["times"][index]) for index in np.flatnonzero(loud) if not loud[max(0, index - 20) : index].any()
    ]


@pytest.mark.parametrize(
    "recording",
    [(False, "mic"), (True, "mic"), (False, "mic:null output")],
    indirect=True,
    ids=["source ends", "source is swapped for a silent one", "source is named"],
)
def test_a_burst_is_captured_at_its_moment_before_and_after_the_microphone_was_unplugged(
    recording: tuple[VirtualMicrophone, RecorderProcess], burst: Path
) -> None:
    microphone, recorder = recording
    played = []
    recorder.wait_for("live")
    played.append(time.time())
    microphone.play(burst)
    time.sleep(0.3)
    microphone.unplug()
    recorder.wait_for("no signal" if microphone.always_sink else "lost")
    microphone.plug_in()
    if microphone.always_sink:
        time.sleep(1.5)  # its state changes only when there is sound
    else:
        recorder.wait_for("live")
    played.append(time.time())
    microphone.play(burst)
    time.sleep(0.5)
    captured = recorder.finish()

    assert np.all(np.diff(captured["times"]) >= 0)
    assert len(captured["gaps"]) >= 1
    began = onsets(captured)
    assert len(began) == 2
    np.testing.assert_allclose(began, played, atol=0.3)
    loud = captured["samples"][np.abs(captured["samples"]) > 0.05]
    assert BURST_S * RATE * 1.6 < len(loud) < BURST_S * RATE * 2.0, "two whole bursts, less the sine's small samples"
    spectrum = np.abs(np.fft.rfft(captured["samples"]))
    assert np.argmax(spectrum) * RATE / len(captured["samples"]) == pytest.approx(1_000, abs=5)


@pytest.mark.parametrize("moved_by", ["its going", "another default"])
@pytest.mark.parametrize("recording", [(False, "mic:vmic.monitor")], indirect=True, ids=["source is named"])
def test_of_a_named_microphone_no_other_one_is_heard_in_its_place(
    recording: tuple[VirtualMicrophone, RecorderProcess], burst: Path, moved_by: str
) -> None:
    microphone, recorder = recording
    microphone.pactl("load-module", "module-null-sink", "sink_name=other", "norewinds=1")
    speaker = subprocess.Popen(["paplay", "--device=other", str(burst.with_name("long.wav"))], env=microphone.env)
    recorder.wait_for("live")
    microphone.play(burst)
    time.sleep(1.5)
    if moved_by == "its going":
        modules = microphone.pactl("list", "short", "modules").splitlines()
        microphone.pactl("unload-module", next(line.split()[0] for line in modules if "sink_name=vmic" in line))
        recorder.wait_for("lost")
        time.sleep(1.0)
        assert microphone.recordings() == ""
        microphone.plug_in()
    else:
        microphone.pactl("set-default-source", "other.monitor")
        recorder.wait_for("lost")
    recorder.wait_for("live")
    time.sleep(1.0)
    microphone.play(burst)
    time.sleep(0.5)
    captured = recorder.finish()
    speaker.kill()
    speaker.wait()

    blocks = captured["samples"][: len(captured["samples"]) // 240 * 240].reshape(-1, 240)
    spectrum = np.abs(np.fft.rfft(blocks))  # bins of 100 Hz
    loud = np.abs(blocks).max(axis=1) > 0.05
    pitch = spectrum.argmax(axis=1)[loud] * 100
    assert np.sum(pitch == 1_000) * 0.01 == pytest.approx(2 * BURST_S, abs=0.1), "both bursts are heard"
    assert np.sum(pitch == 3_000) * 0.01 < 0.5, "the other microphone"


@pytest.mark.parametrize("recording", [(False, "mic")], indirect=True, ids=["default source"])
def test_muting_really_releases_the_device(recording: tuple[VirtualMicrophone, RecorderProcess]) -> None:
    microphone, recorder = recording
    recorder.wait_for("live")
    assert microphone.recordings()
    recorder.say("mute")
    recorder.wait_for("muted")
    assert microphone.recordings() == ""
    recorder.say("unmute")
    recorder.wait_for("live")
    assert microphone.recordings()
    time.sleep(0.5)
    assert len(recorder.finish()["gaps"]) == 1


@pytest.mark.parametrize(
    "seconds", [pytest.param(3.0), pytest.param(30.0, marks=pytest.mark.slow)], ids=["3 s", "30 s"]
)
@pytest.mark.parametrize("recording", [(False, "mic")], indirect=True, ids=["default source"])
def test_a_process_that_was_stopped_goes_on_in_time_behind_a_gap(
    recording: tuple[VirtualMicrophone, RecorderProcess], burst: Path, seconds: float
) -> None:
    microphone, recorder = recording
    recorder.wait_for("live")
    played = [time.time()]
    microphone.play(burst)
    time.sleep(0.5)
    recorder.stop_for(seconds)
    recorder.wait_for("stalled")
    recorder.wait_for("live")
    played.append(time.time())
    microphone.play(burst)
    time.sleep(0.5)
    captured = recorder.finish()

    assert len(captured["gaps"]) == 1
    assert captured["gap_s"] == pytest.approx(seconds, abs=1.0)
    times = captured["times"]
    assert np.all(np.diff(times) >= 0)
    np.testing.assert_allclose(onsets(captured), played, atol=0.3)
    after = captured["gaps"][0] // 240 + 1
    assert times[-1] - times[after] == pytest.approx((len(times) - 1 - after) * 0.01, abs=0.1)


@pytest.mark.parametrize("away_s", [1.0, 8.0], ids=["1 s", "8 s"])
@pytest.mark.parametrize(
    "recording", [(False, "mic"), (True, "mic")], indirect=True, ids=["source ends", "source is swapped"]
)
def test_a_device_is_captured_within_two_seconds_of_its_return_and_what_is_missing_is_counted(
    recording: tuple[VirtualMicrophone, RecorderProcess], burst: Path, away_s: float
) -> None:
    microphone, recorder = recording
    recorder.wait_for("live")
    microphone.play(burst)
    time.sleep(0.3)
    gone = time.time()
    microphone.unplug()
    recorder.wait_for("no signal" if microphone.always_sink else "lost")
    time.sleep(max(0.0, away_s - (time.time() - gone)))
    back = time.time()
    microphone.plug_in()
    time.sleep(1.5)
    played = time.time()
    microphone.play(burst)
    time.sleep(0.5)
    captured = recorder.finish()
    x = captured["samples"]
    print(
        captured["gaps"],
        [
            (
                round(float(abs(x[i : i + 2400]).max()), 2),
                int(np.argmax(abs(np.fft.rfft(x[i : i + 2400]))) * 10),
                round(float(captured["times"][i // 240]) - played, 2),
            )
            for i in range(0, len(x) - 2400, 2400)
        ],
    )
    assert len(onsets(captured)) == 2
    assert onsets(captured)[1] == pytest.approx(played, abs=0.3), "it was heard from its beginning"
    if not microphone.always_sink:  # else zeros came in between, which nobody can tell from silence
        heard_again = captured["times"][captured["gaps"][-1] // 240 + 1]
        assert heard_again < back + 2
        assert captured["gap_s"] == pytest.approx(heard_again - gone, abs=0.3)
