"""`streamer doctor` in broken situations: each is found, none hides another, and all name their cure."""

import errno
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import platformdirs
import psutil
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from streamer.audio.ring import RingBuffer
from streamer.cli import app
from streamer.commands.checks import machine, model
from streamer.commands.checks.broker import check_broker
from streamer.commands.checks.finding import Finding, guarded
from streamer.commands.checks.listening import judge, listen
from streamer.commands.checks.machine import check_extras, check_folders, check_terminal
from streamer.commands.checks.model import check_model
from streamer.commands.checks.served import check_actions, check_metrics, check_web
from streamer.commands.checks.sources import check_sources
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.settings import Settings
from streamer.sources import portaudio
from streamer.sources.muting import Mute, MuteStore
from streamer.sources.source import SourceState, SourceStatus
from tests.sources.fake_sounddevice import FakeSounddevice, device
from tests.support.real_audio import VirtualMicrophone
from tests.support.real_broker import free_port

runner = CliRunner()
Check = Callable[[Settings], Iterator[Finding]]


@pytest.fixture(autouse=True)
def sounddevice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSounddevice:
    """One microphone that delivers nothing, and an empty working folder."""
    fake = FakeSounddevice([device("MacBook Microphone")])
    monkeypatch.setattr(fake, "get_portaudio_version", lambda: (1, "PortAudio V19"), raising=False)
    monkeypatch.setattr(portaudio, "shared", lambda: portaudio.PortAudio(lambda: fake))
    for module in ("devices", "microphone"):
        monkeypatch.setattr(f"streamer.sources.{module}.shared", portaudio.shared)
    monkeypatch.setattr(machine, "shared", portaudio.shared)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("not a sound")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 64)
    soundfile.write(tmp_path / "silence.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    soundfile.write(tmp_path / "loud.wav", np.ones(SAMPLE_RATE), SAMPLE_RATE)
    return fake


def found(check: Check, tables: dict) -> list[Finding]:
    return list(guarded("check", lambda: check(Settings(**tables))))


def stream(source: str, **keys: str) -> dict:
    return {"stream": [{"name": "desk", "source": source} | keys]}


@pytest.mark.parametrize(
    ("check", "tables", "says", "cure"),
    [
        (
            check_sources,
            stream("mic:Yeti"),
            "No input device matches 'Yeti'",
            "plug it in, or take one of 0 'MacBook Microphone'",
        ),
        (check_sources, stream("nofile.wav"), "there is no file 'nofile.wav'", "name an audio file, mic, - or demo"),
        (check_sources, stream("folder"), "is a folder", "for all of them: for file in"),
        (check_sources, stream("text.wav"), "text.wav", "pipe raw PCM in with `-`"),
        (check_sources, stream("demo", source_password_file=""), None, "2.0 s heard"),
        (check_sources, stream("http://127.0.0.1:9/a"), "refuses the connection", "start its server"),
        (check_sources, stream("tcp://127.0.0.1:9?format=s16le"), "needs its sample rate", "write tcp://"),
        (check_sources, stream("rtsp://eva@cam/a", source_password_file="empty"), "holds no password", "first line"),
        (check_sources, stream("loud.wav"), "clipped", "turn the input level down"),
        (
            check_model,
            {"model": {"checkpoint": "nowhere.safetensors"}},
            "nowhere.safetensors",
            'use checkpoint = "bundled"',
        ),
        (check_model, {"model": {"checkpoint": "damaged.safetensors"}}, "damaged.safetensors", "checkpoint"),
        (check_model, {"tracker": {"enter": 0.1}}, "exit", "enter"),
        (check_broker, {"mqtt": {"prefix": "a/#"}}, "prefix 'a/#' cannot be used", "write words joined by '/'"),
        (
            check_broker,
            {"mqtt": {"discovery_prefix": "a/#"}},
            "mqtt.discovery_prefix 'a/#' cannot be used",
            "write words",
        ),
        (check_broker, {"mqtt": {"url": "mqtt://127.0.0.1:9"}}, "Nothing listens", "start"),
        (check_broker, {"mqtt": {"url": "mqtts://h", "ca_file": "no.pem"}}, "ca_file 'no.pem'", "PEM file"),
        (check_web, {"web": {"listen": "0.0.0.0:8780"}}, "is reached from the network", "web.open_to_network = true"),
        (
            check_web,
            {"web": {"listen": "203.0.113.9:8780", "open_to_network": True}},
            "cannot be taken",
            "give another port",
        ),
        (check_metrics, {"metrics": {"listen": "nine"}}, "is no place to listen", "write a port"),
        (check_actions, {"action": [{"name": "lamp", "command": ["./none"]}]}, "none", "lamp"),
        (check_terminal, {"dashboard": {"theme": "neon"}}, "no such theme", "there are auto, streamer"),
    ],
)
def test_a_broken_situation_is_found_with_its_cure(check: Check, tables: dict, says: str | None, cure: str) -> None:
    findings = found(check, tables)
    text = " ".join(finding.text for finding in findings if finding.verdict != "ok" or says is None)
    assert (says or "") in text
    assert cure in text


def test_a_port_that_is_taken_is_found_where_no_monitor_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        tables = {"web": {"listen": str(taken.getsockname()[1])}}
        monkeypatch.setattr("streamer.commands.checks.served.find_broker", lambda: None)
        (finding,) = found(check_web, tables)
        assert (finding.verdict, "give another port" in finding.text) == ("bad", True)
        monkeypatch.setattr("streamer.commands.checks.served.find_broker", lambda: "mqtt://127.0.0.1:1883")
        (finding,) = found(check_web, tables)
        assert (finding.verdict, "perhaps by the monitor" in finding.text) == ("note", True)
    (finding,) = found(check_web, tables)
    assert (finding.verdict, found(check_web, {})) == ("ok", [])


def test_a_source_that_is_muted_is_not_opened() -> None:
    MuteStore().save("desk", Mute("mqtt", 1_795_365_005.0))
    (finding,) = found(check_sources, stream("mic:Yeti"))
    assert (finding.verdict, "Muted over MQTT" in finding.text) == ("note", True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_found() -> None:
    (finding,) = found(check_model, {"model": {"device": "cuda"}})
    assert finding.verdict == "bad"
    assert "cpu" in finding.text


def test_a_machine_that_is_too_slow_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(np.arange(0.0, 30.0, 0.5))
    monkeypatch.setattr(model, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    speed = found(check_model, {})[-1]
    assert (speed.check, speed.verdict) == ("speed", "bad")
    assert "takes 500 ms of a hop of 240 ms (208%): it cannot keep up; take a longer window.hop_s" in speed.text


def test_a_missing_library_is_found_where_a_source_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise portaudio.PortAudioMissingError("Microphones need the PortAudio library, which is missing: run `x`.")

    for module in ("devices", "microphone"):
        monkeypatch.setattr(f"streamer.sources.{module}.shared", lambda: portaudio.PortAudio(load))
    monkeypatch.setattr(machine, "shared", lambda: portaudio.PortAudio(load))
    (finding,) = found(check_sources, {})
    assert (finding.check, finding.verdict) == ("microphone", "bad")
    assert "run `x`. Meanwhile `streamer run` plays the bundled demo." in finding.text
    assert found(machine.check_portaudio, {}) == []
    (note,) = found(machine.check_portaudio, stream("demo"))
    assert (note.verdict, "need none" in note.text) == ("note", True)


def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in-the-way").write_text("")
    monkeypatch.setattr(platformdirs, "user_log_path", lambda name: tmp_path / "in-the-way" / name)
    finding = next(one for one in found(check_folders, {}) if one.check == "folders")
    assert finding.verdict == "bad"
    assert "(log) cannot be written: not a directory; change its owner" in finding.text


def test_the_folder_of_recorded_events_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    table = {"record": {"folder": str(tmp_path / "in-the-way" / "sessions")}}
    finding = next(one for one in found(check_folders, table) if one.check == "folders")
    assert finding.verdict == "bad"
    assert "(recorded events) cannot be written" in finding.text


def test_folders_are_looked_at_without_leaving_any_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("log", "data", "cache"):
        monkeypatch.setattr(platformdirs, f"user_{kind}_path", lambda name, kind=kind: tmp_path / "new" / kind / name)
    assert [one.verdict for one in found(check_folders, {})] == ["ok", "ok"]
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "disk_usage", lambda path: SimpleNamespace(free=3e6))
    disk = found(check_folders, {})[-1]
    assert (disk.verdict, disk.text) == ("bad", "3 MB are free, and 500 are wanted; free some space.")


def test_a_missing_extra_is_a_note_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "sklearn" else object())
    findings = found(lambda _: check_extras(), {})
    assert {finding.verdict for finding in findings} == {"note"}
    assert any("analyze` lack sklearn" in one.text and "pip install" in one.text for one in findings)


def test_a_port_that_is_taken_is_said_with_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        port = free_port()
        other.bind(("127.0.0.1", port))
        other.listen()
        monkeypatch.setattr("streamer.commands.checks.broker.PORT", port)
        monkeypatch.setattr("streamer.commands.checks.broker.find_broker", lambda: None)
        (finding,) = found(check_broker, {})
    assert finding.verdict == "note"
    assert f"port {port} is taken by another program" in finding.text


class FakeSource:
    """Implements `Source`: everything it delivers is there at once."""

    realtime = True

    def __init__(self, samples: np.ndarray, state: SourceState = "live", detail: str = "", rate_hz: float = 48_000.0):
        self.name, self.ring = "desk", RingBuffer(20 * SAMPLE_RATE, threading.Event())
        self._samples, self._status = samples, SourceStatus(state, detail, "Yeti", 48_000.0, rate_hz, 0)
        self.stopped = False

    def start(self) -> None:
        if self._status.state == "failed":
            raise StreamerError(self._status.detail)
        self.ring.write(self._samples.astype(np.float32))

    def status(self) -> SourceStatus:
        return self._status

    def mute(self, muted: bool) -> None: ...

    def stop(self) -> None:
        self.stopped = True


NOISE = np.random.default_rng(1).normal(scale=0.05, size=2 * SAMPLE_RATE)


@pytest.mark.parametrize(
    ("source", "verdict", "says"),
    [
        (FakeSource(NOISE), "ok", "Yeti: 2.0 s heard, -26 dBFS, peak"),
        (FakeSource(0 * NOISE), "bad", "Yeti: delivers only zeros: "),
        (FakeSource(NOISE[:0]), "bad", "no audio came within"),
        (FakeSource(NOISE[:0], "lost", "It is held by another program."), "bad", "held by another program."),
        (FakeSource(NOISE, "failed", "It has no channel 3."), "bad", "It has no channel 3."),
        (FakeSource(np.clip(40 * NOISE, -1, 1)), "note", "samples are clipped: turn the input level down"),
        (FakeSource(NOISE + 0.1), "note", "a DC offset of 0.10 of full scale"),
        (FakeSource(NOISE / 1000), "note", "very quiet"),
        (FakeSource(NOISE, rate_hz=44_100.0), "note", "the rate is -8.1% off"),
    ],
)
def test_how_a_source_sounds_is_measured(source: FakeSource, verdict: str, says: str) -> None:
    (heard,) = listen([source], patience_s=0.0)
    finding = Finding("x", "bad", str(heard)) if isinstance(heard, StreamerError) else judge("x", heard, live=True)
    assert finding.verdict == verdict
    assert says in finding.text
    assert source.stopped


def test_a_source_that_cannot_start_does_not_silence_the_others() -> None:
    broken, well = FakeSource(NOISE, "failed", "No such channel."), FakeSource(NOISE)
    first, second = listen([broken, well], patience_s=0.0)
    assert isinstance(first, StreamerError)
    assert len(second.samples) == len(NOISE)


def test_an_error_of_a_check_is_a_finding() -> None:
    def broken() -> Iterator[Finding]:
        yield Finding("first", "ok", "")
        raise OSError(errno.EIO, "the disk is gone")

    first, second = guarded("second", broken)
    assert (first.check, second.check, second.verdict) == ("first", "second", "bad")
    assert "the disk is gone" in second.text


def test_everything_that_is_wrong_is_said_in_one_run_with_exit_code_1(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(
        '[window]\nhop = 0.24\n[mqtt]\nprefix = "a/#"\n[dashboard]\ntheme = "neon"\n[model]\ncheckpoint = "no"\n'
        '[[stream]]\nname = "desk"\nsource = "mic:Yeti"\n[[stream]]\nname = "yard"\nsource = "nofile.wav"\n'
        '[[stream]]\nname = "pipe"\nsource = "-"\n[[stream]]\nname = "cam"\nsource = "http://eva:s3cret@127.0.0.1:9/"\n'
    )
    result = runner.invoke(app, ["doctor", "--config", str(config), "--json"])
    report = json.loads(result.output)
    assert (result.exit_code, report["ok"]) == (1, False)
    assert "s3cret" not in result.output
    wrong = [check["check"] for check in report["checks"] if check["verdict"] == "bad"]
    assert wrong == ["settings", "source desk", "source yard", "source cam", "model", "broker", "theme"]
    assert all(check["text"].endswith((".", "NULL")) for check in report["checks"] if check["verdict"] == "bad")


def test_a_healthy_configuration_passes_with_exit_code_0(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text('[audio]\nsource = "demo"\n[mqtt]\nurl = "off"\n')
    result = runner.invoke(app, ["doctor", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "All checks passed."
    for what in ("settings", "source", "model", "compute", "speed", "broker", "folders", "disk"):
        assert f" {what}: " in result.output


@pytest.mark.real
@pytest.mark.timeout(60)
def test_a_real_microphone_that_is_muted_is_told_from_one_that_hears(tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    soundfile.write(tone, 0.1 * np.sin(np.arange(8 * 48_000) / 20), 48_000)

    def heard(env: dict[str, str]) -> list[str]:
        code = (
            "from streamer.commands.checks.sources import check_sources; from streamer.settings import Settings\n"
            "for one in check_sources(Settings(audio={'source': 'mic'})): print(one.verdict, one.text)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=50, check=True
        )
        return done.stdout.splitlines()

    with VirtualMicrophone() as microphone:
        silent = heard(microphone.env)
        playing = threading.Thread(target=microphone.play, args=(tone,))
        playing.start()
        loud = heard(microphone.env)
        playing.join()
    assert silent[0].startswith("bad ")
    assert "delivers only zeros" in silent[0]
    assert loud[0].startswith("ok "), loud
