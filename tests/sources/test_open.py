"""Parsing the name of a source, and opening it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.constants import SAMPLE_RATE
from streamer.errors import UsageError
from streamer.sources.demo import WHAT_IT_IS
from streamer.sources.microphone import Microphone
from streamer.sources.open import SourceKind, SourceOptions, SourceSpec, check_recording, open_source, parse_source
from streamer.sources.playback import Playback
from streamer.sources.portaudio import PortAudio, PortAudioMissingError
from tests.sources.fake_sounddevice import FakeSounddevice, device


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("auto", SourceSpec("auto")),
        ("mic", SourceSpec("mic")),
        ("mic:Blue Yeti", SourceSpec("mic", "Blue Yeti")),
        ("mic: 3 ", SourceSpec("mic", "3")),
        ("mic:hw:1,0", SourceSpec("mic", "hw:1,0")),
        ("-", SourceSpec("pipe")),
        ("demo", SourceSpec("demo")),
        ("talks/demo.wav", SourceSpec("recording", "talks/demo.wav")),
        ("./mic", SourceSpec("recording", "./mic")),
        (r"C:\talks\a.wav", SourceSpec("recording", r"C:\talks\a.wav")),
    ],
)
def test_a_source_is_parsed(text: str, spec: SourceSpec) -> None:
    assert parse_source(text) == spec


@pytest.mark.parametrize("text", ["", "  ", "mic:", "mic: "])
def test_a_text_that_names_no_source_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match="names no source; write auto, mic, mic:NAME-OR-INDEX, -, demo, a URL or a file"
    ):
        parse_source(text)


def with_devices(*devices: dict) -> PortAudio:
    fake = FakeSounddevice(list(devices))
    return PortAudio(lambda: fake)


def without_portaudio() -> PortAudio:
    def load() -> object:
        raise PortAudioMissingError("Microphones need the PortAudio library, which is missing: install it.")

    return PortAudio(load)


def test_auto_is_a_microphone_where_there_is_one() -> None:
    source = open_source(SourceSpec("auto"), portaudio=with_devices(device("Yeti")))
    assert isinstance(source, Microphone)
    assert source.name == "mic"


@pytest.mark.parametrize(
    ("portaudio", "reason"),
    [
        (without_portaudio(), "because microphones need the PortAudio library, which is missing: install it."),
        (with_devices(), "because there is no microphone: plug one in"),
    ],
    ids=["no PortAudio", "no device"],
)
def test_auto_is_the_bundled_recording_elsewhere_and_says_why(portaudio: PortAudio, reason: str) -> None:
    source = open_source(SourceSpec("auto"), portaudio=portaudio)
    assert isinstance(source, Playback)
    assert source.name == "demo"
    assert source.status().detail.startswith(f"{WHAT_IT_IS} The bundled demo plays, ")
    assert reason in source.status().detail
    assert "synthetic" in source.status().device


@pytest.mark.parametrize(
    ("spec", "name", "reduced"),
    [
        (SourceSpec("recording", "talks/Grüße 1.wav"), None, "grue-1"),
        (SourceSpec("recording", "talks/a.wav"), "Talk A", "talk-a"),
        (SourceSpec("pipe"), None, "stdin"),
        (SourceSpec("demo"), None, "demo"),
        (SourceSpec("mic", "Yeti"), None, "mic"),
        (SourceSpec("mic", "Yeti"), "Desk", "desk"),
    ],
)
def test_a_stream_is_named_after_its_source_unless_it_has_a_name(
    spec: SourceSpec, name: str | None, reduced: str
) -> None:
    source = open_source(spec, name=name, stdin=io.BytesIO(), portaudio=with_devices())
    assert source.name == reduced
    assert source.ring.capacity == 30 * SAMPLE_RATE


@pytest.mark.parametrize("kind", ["auto", "mic"])
def test_a_microphone_cannot_be_read_faster_than_real_time(kind: SourceKind) -> None:
    with pytest.raises(UsageError, match="--fast reads recordings and pipes, not a microphone"):
        open_source(SourceSpec(kind), SourceOptions(fast=True), portaudio=with_devices(device("Yeti")))


@pytest.mark.parametrize("spec", [SourceSpec("demo"), SourceSpec("recording", "a.wav"), SourceSpec("pipe")])
@pytest.mark.parametrize("fast", [False, True])
def test_a_source_is_real_time_unless_fast(spec: SourceSpec, fast: bool) -> None:
    assert open_source(spec, SourceOptions(fast=fast), stdin=io.BytesIO()).realtime is not fast


def test_parsing_a_source_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = {"numpy", "soxr", "soundfile", "sounddevice", "torch", "av"}
    program = f"import sys, streamer.sources.open as s; s.parse_source('mic'); print({heavy} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_a_microphone_starts_without_ffmpegs_libraries() -> None:
    program = (
        "import sys, streamer.sources.microphone, streamer.sources.playback, streamer.decoding.recording;"
        "import streamer.sources.pipe;"
        "print('av' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_a_folder_is_refused_with_the_line_that_loops_over_it(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    with pytest.raises(UsageError, match="is a folder, and a source is one recording at a time") as error:
        check_recording(str(folder))
    assert str(error.value).endswith(f"for file in '{folder}'/*; do streamer run \"$file\" --headless --fast; done")


def test_a_file_and_a_named_pipe_are_accepted_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    os.mkfifo(tmp_path / "a.fifo")
    check_recording(str(tmp_path / "a.wav"))
    check_recording(str(tmp_path / "a.fifo"))
    with pytest.raises(UsageError, match=r"there is no file '.*b\.wav'; name an audio file, mic, - or demo"):
        check_recording(str(tmp_path / "b.wav"))


@pytest.mark.parametrize("kind", ["auto", "mic"])
def test_only_a_recording_has_a_start_time(kind: SourceKind) -> None:
    with pytest.raises(UsageError, match="--start-time is for recordings"):
        open_source(SourceSpec(kind), SourceOptions(start_time=0.0), portaudio=with_devices(device("Yeti")))
    source = open_source(SourceSpec("recording", "a.wav"), SourceOptions(start_time=12.5))
    assert source.ring.start_time == 12.5
