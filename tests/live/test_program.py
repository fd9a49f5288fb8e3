"""The real program over its whole life: brokers that die, pipes that close, signals, files, missing parts."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamer.emotion.model import EmotionDetectionModel
from streamer.sources.demo import DEMO
from tests.live.program import LIVELY, Streamer, events, write_config
from tests.support.real_broker import Listener, Mosquitto, eventually, retained

real = pytest.mark.real
pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Five seconds of speech at 16 kHz, two channels."""
    audio, rate = soundfile.read(DEMO, frames=24_000 * 15, dtype="float32")
    path = tmp_path / "Some Talk.wav"
    soundfile.write(path, np.stack([audio, audio], axis=1)[: 5 * rate], rate)
    return path


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "streamer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, **options)  # type: ignore[call-overload]


@pytest.mark.slow
def test_a_file_is_classified_in_a_stream_as_it_is_offline(recording: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, "[window]\nwindow_s = 12.0\n[voice]\nmin_speech = 0.0\n")
    done = run("run", str(recording), "--headless", "--fast", "--mqtt", "off", "--config", config)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    last = [e for e in events if e["type"] == "window"][-1]
    audio, _ = soundfile.read(recording, dtype="float32")
    model = EmotionDetectionModel.from_checkpoint("bundled", window_s=12.0)
    with torch.inference_mode():
        offline = torch.softmax(model(torch.from_numpy(audio.mean(axis=1))[None, None]), dim=-1)[0]
    assert (last["stream"], last["end_s"]) == ("some-talk", 5.0)
    assert list(last["probs"].values()) == pytest.approx(offline.tolist(), abs=1.5e-4)  # 1e-4, and four decimals


@pytest.mark.slow
def test_a_truncated_file_is_played_as_far_as_it_goes_and_then_reported(recording: Path, tmp_path: Path) -> None:
    audio, rate = soundfile.read(recording)
    whole, broken = tmp_path / "whole.flac", tmp_path / "broken.flac"
    soundfile.write(whole, audio, rate)
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = run("run", str(broken), "--headless", "--fast", "--mqtt", "off")
    windows = [e for e in map(json.loads, done.stdout.splitlines()) if e["type"] == "window"]
    assert 1.0 < windows[-1]["end_s"] < 5.0
    assert done.returncode == 1
    assert "broken.flac" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_raw_pcm_from_a_pipe_gives_the_same_windows_as_the_file(recording: Path) -> None:
    audio, rate = soundfile.read(recording, dtype="int16")
    from_file = run("run", str(recording), "--headless", "--fast", "--mqtt", "off")
    command = [sys.executable, "-m", "streamer", "run", "-", "--headless", "--fast", "--mqtt", "off"]
    from_pipe = subprocess.run(
        [*command, "--format", "s16le", "--rate", str(rate), "--channels", "2"],
        input=audio.tobytes(),
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    windows = [
        [e for line in text.splitlines() if (e := json.loads(line))["type"] == "window"]
        for text in (from_file.stdout, from_pipe.stdout.decode())
    ]
    assert len(windows[0]) == len(windows[1]) > 15
    for a, b in zip(*windows, strict=True):
        assert a["end_s"] == b["end_s"]
        assert a["label"] == b["label"]


@pytest.mark.slow
def test_a_recording_from_a_pipe_gives_the_same_windows_as_the_file_and_is_timed_from_its_start(
    recording: Path,
) -> None:
    options = ("--headless", "--fast", "--mqtt", "off", "--start-time", "2020-01-01T00:00:00Z")
    from_file = run("run", str(recording), *options)
    with recording.open("rb") as stdin:
        from_pipe = run("run", "-", *options, stdin=stdin)
    both = [
        [e for e in map(json.loads, done.stdout.splitlines()) if e["type"] == "window"]
        for done in (from_file, from_pipe)
    ]
    assert len(both[0]) == len(both[1]) > 15
    for a, b in zip(*both, strict=True):
        assert (a["end_s"], a["label"], a["time"]) == (b["end_s"], b["label"], b["time"])
    assert both[0][-1]["time"] == "2020-01-01T00:00:05.000Z"


@pytest.mark.slow
def test_a_pipe_that_stalls_ends_the_emotion_and_begins_windows_anew() -> None:
    speech, rate = soundfile.read(DEMO, dtype="int16")
    block = rate // 10
    command = [sys.executable, "-m", "streamer", "run", "-", "--headless", "--mqtt", "off", "--rate", str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen: list[dict] = []
        reading = threading.Thread(target=lambda: seen.extend(map(json.loads, process.stdout or ())))
        reading.start()

        def feed(first: int, blocks: int) -> None:
            for number in range(first, first + blocks):
                process.stdin.write(speech[number * block : (number + 1) * block].tobytes())
                process.stdin.flush()
                time.sleep(0.1)

        def windows() -> list[dict]:
            return [event for event in seen if event["type"] == "window"]

        def is_lost() -> bool:
            return any(event["type"] == "health" and event["status"] == "source lost" for event in seen)

        feed(0, 10)
        eventually(lambda: windows(), 60)
        feed(10, 50)
        eventually(lambda: not windows()[-1]["warming"], 10)
        stalled = time.monotonic()
        eventually(is_lost, 10)
        assert time.monotonic() - stalled < 2.0
        before = len(windows())
        feed(60, 10)
        eventually(lambda: len(windows()) > before, 10)
        process.stdin.close()
        assert process.wait(30) == 0
        reading.join()
    after = windows()[before]
    assert after["warming"]
    assert after["start_s"] >= windows()[before - 1]["end_s"]
    started = [event["id"] for event in seen if event.get("event_type") == "emotion_started"]
    ended = [event["id"] for event in seen if event.get("event_type") == "emotion_ended"]
    assert started == ended


@pytest.mark.slow
def test_a_reader_that_leaves_ends_the_program_quietly(recording: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m streamer run '{recording}' --headless --fast --mqtt off | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert json.loads(done.stdout)["type"] == "info"
    assert "Traceback" not in done.stderr


@real
def test_transitions_survive_a_broker_that_is_killed_and_come_in_order(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    listener = Listener(broker.port, ["streamer/#"], qos=1)  # it reconnects by itself
    config = write_config(tmp_path, LIVELY)
    try:
        with Streamer("run", "demo", "--headless", "--mqtt", broker.url, "--config", config) as program:
            program.until(lambda: len(events(listener, "transition")) >= 2)
            broker.kill()
            before = len(program.of("transition"))
            program.until(lambda: len(program.of("transition")) >= before + 4)
            broker.start()
            program.until(lambda: events(listener, "transition")[-1]["id"] == program.of("transition")[-1]["id"])
            program.end()
            eventually(lambda: listener.payloads("/availability")[-1] == "offline")
            printed = [(t["id"], t["event_type"]) for t in program.of("transition")]
        received = [(t["id"], t["event_type"]) for t in events(listener, "transition")]
        assert list(dict.fromkeys(received)) == printed
    finally:
        listener.close()
        broker.kill()


@real
def test_a_monitor_that_is_killed_leaves_offline_behind(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    try:
        with Streamer("run", "demo", "--headless", "--mqtt", broker.url) as program:
            program.until(lambda: retained(broker.port, "streamer/+/availability") == "online")
            program.end(signal.SIGKILL)
        eventually(lambda: retained(broker.port, "streamer/+/availability") == "offline")
    finally:
        broker.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_cleanly_and_the_embedded_broker_says_offline(number: signal.Signals, code: int) -> None:
    with Streamer("run", "demo", "--headless") as program:
        program.until(lambda: program.of("window"))
        assert program.end(number) == code
        assert not any("Traceback" in line for line in program.errors)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the program's memory map to see how far it is")
def test_a_signal_while_the_model_loads_ends_it_cleanly_too() -> None:
    with Streamer("run", "demo", "--headless", "--mqtt", "off") as program:
        # Torch is mapped just before the model and stays so: the checkpoint's own mapping may be gone between two
        # looks.
        program.until(lambda: "libtorch_cpu" in Path(f"/proc/{program.process.pid}/maps").read_text())
        assert program.end(signal.SIGTERM) == 0
        assert [line for line in program.errors if "Synthetic voices" not in line] == []


@pytest.mark.slow
def test_without_portaudio_the_program_reports_it_and_plays_the_bundled_recording(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path}
    with Streamer("run", "--headless", "--mqtt", "off", env=env) as program:
        program.until(lambda: program.of("window"))
        assert {e["stream"] for e in program.of("window")} == {"demo"}
        program.until(lambda: program.errors)
        message = "".join(program.errors)
        assert "synthetic" in message.lower()
        assert "PortAudio" in message
        assert "install" in message


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "nowhere.wav", "--headless", "--mqtt", "off"), 2, ["nowhere.wav"]),
        (("run", ".", "--headless"), 2, ["is a folder", "one recording at a time", 'do streamer run "$file"']),
        (("run", "a.wav", "b c.wav", "--headless"), 2, ["2 sources", "for file in a.wav 'b c.wav'; do streamer run"]),
        (
            ("run", "demo", "--headless", "--start-time", "noon"),
            2,
            ["--start-time 'noon'", "2026-11-22T16:30:00+01:00"],
        ),
        (
            ("run", "demo", "--headless", "--start-time", "1969-12-31T23:00:00Z"),
            2,
            ["--start-time '1969-12-31T23:00:00Z'", "1970 to 2200"],
        ),
        (("run", "mic:No Such Thing", "--fast", "--headless"), 2, ["--fast"]),
        (("run", "gopher://eva:pw@host/a", "--headless"), 2, ["gopher://", "rtsp"]),
        (("run", "tcp://host:5000?format=s16le", "--headless"), 2, ["sample rate", "&rate=16000"]),
        (("run", "rtsp://host/a", "--fast", "--headless"), 2, ["--fast", "URL"]),
        (("run", "demo", "--headless", "--mqtt", "http://x"), 2, ["mqtt://"]),
        (("run", "demo", "--headless", "--mqtt", "off", "--checkpoint", "no.safetensors"), 1, ["no.safetensors"]),
        (("run", "demo", "--headless", "--mqtt", "off", "--device", "gpu"), 2, ["model.device", "gpu", "cuda"]),
        (("run", "demo", "--headless", "--config", "no.toml"), 2, ["no.toml"]),
        (("info", "no.safetensors"), 1, ["no.safetensors"]),
    ],
)
def test_a_wrong_command_line_is_reported_in_one_sentence(
    arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    done = run(*arguments, stdin=subprocess.DEVNULL)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stderr
    assert [word for word in words if word not in lines[-1]] == []
    assert lines[-1].startswith("streamer: ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_without_a_terminal_it_prints_json_lines_and_reports_it(recording: Path) -> None:
    done = run("run", str(recording), "--fast", "--mqtt", "off", stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[0])["type"] == "info"
    assert "--headless" in done.stderr


def test_watching_without_a_terminal_names_the_way_out() -> None:
    done = run("watch", "mqtt://127.0.0.1:9", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "mosquitto_sub" in done.stderr


@pytest.mark.slow
def test_several_streams_run_at_once(tmp_path: Path, recording: Path) -> None:
    tables = f'[[stream]]\nname = "one"\nsource = "{recording}"\n[[stream]]\nname = "two"\nsource = "{DEMO}"\n'
    done = run("run", "--headless", "--fast", "--mqtt", "off", "--config", write_config(tmp_path, tables))
    assert done.returncode == 0, done.stderr
    windows = [e for e in map(json.loads, done.stdout.splitlines()) if e["type"] == "window"]
    assert max(w["end_s"] for w in windows if w["stream"] == "one") == 5.0
    assert max(w["end_s"] for w in windows if w["stream"] == "two") > 30.0
