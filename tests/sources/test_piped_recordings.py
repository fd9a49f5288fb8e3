"""Recordings that come through a pipe, named pipes, and pipes that stall."""

import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.sources.open import SourceOptions, SourceSpec, open_source
from streamer.sources.pipe import Pipe
from streamer.sources.playback import Playback
from streamer.sources.source import PcmFormat
from tests.decoding.test_recording_kinds import ffmpeg
from tests.sources.playing import FAST, noise, play, read_to_end, wait_for

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run

PCM = PcmFormat("s16le", SAMPLE_RATE, 1)
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)


def written(kind: str, rate_hz: int = SAMPLE_RATE, subtype: str | None = None) -> bytes:
    """Two seconds of a tone, as libsndfile writes them."""
    file = io.BytesIO()
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz)).astype(np.float32)
    soundfile.write(file, tone, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def pitch_hz(samples: np.ndarray) -> float:
    """The strongest frequency of the middle second."""
    middle = samples[len(samples) // 2 - SAMPLE_RATE // 2 :][:SAMPLE_RATE]
    return float(np.abs(np.fft.rfft(middle)).argmax())


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "AU"])
def test_a_recording_in_a_pipe_is_recognised_by_its_header(kind: str, rate_hz: int) -> None:
    samples, playback = play(Pipe(io.BytesIO(written(kind, rate_hz)), PCM))
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=4_000)
    assert pitch_hz(samples) == pytest.approx(440, abs=1)
    status = playback.status()
    assert (status.state, status.detail, status.native_rate_hz) == ("ended", "", rate_hz)


def test_a_wav_of_unknown_length_in_a_pipe_is_decoded_to_its_end() -> None:
    content = bytearray(written("WAV", 48_000, "PCM_16"))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    samples, playback = play(Pipe(io.BytesIO(bytes(content)), PCM))
    assert len(samples) == 2 * SAMPLE_RATE
    assert playback.status().detail == ""


@pytest.mark.real
@pytest.mark.parametrize("options", [(), ("-movflags", "+faststart"), ("-movflags", "frag_keyframe+empty_moov")])
def test_an_mp4_in_a_pipe_is_decoded_wherever_its_index_is(tmp_path: Path, options: tuple[str, ...]) -> None:
    soundfile.write(tmp_path / "tone.wav", TONE, SAMPLE_RATE)
    ffmpeg("-i", tmp_path / "tone.wav", "-c:a", "aac", *options, tmp_path / "tone.m4a")
    samples, playback = play(Pipe(io.BytesIO((tmp_path / "tone.m4a").read_bytes()), PCM))
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=2_048)
    assert pitch_hz(samples) == pytest.approx(440, abs=1)
    assert playback.status().detail == ""


RAW = {
    "zeros": np.zeros(4_800),
    "minus ones": np.full(4_800, -1),
    "steps": np.arange(4_800) % 7 - 3,
    "like an MP3's first bytes": np.resize([-1_025, 17, *range(-300, 300)], 4_800),
    "noise": noise(4_800)[:, 0] * 9_000,
}


@pytest.mark.parametrize("values", RAW.values(), ids=RAW)
def test_raw_pcm_stays_raw_pcm(values: np.ndarray) -> None:
    pcm = values.astype("<i2")
    samples, playback = play(Pipe(io.BytesIO(pcm.tobytes()), PCM))
    np.testing.assert_array_equal(samples, pcm.astype(np.float32) / 32_768)
    assert playback.status().detail == ""


def test_a_recording_that_is_cut_in_a_pipe_says_so() -> None:
    samples, playback = play(Pipe(io.BytesIO(written("FLAC")[:-300]), PCM))
    assert SAMPLE_RATE < len(samples) < 2 * SAMPLE_RATE
    assert playback.status().state == "failed"
    assert playback.status().detail.startswith("Standard input is damaged")


@pytest.mark.parametrize("recorded", [False, True])
def test_a_named_pipe_is_a_source_whose_writer_may_come_later(tmp_path: Path, recorded: bool) -> None:
    path = tmp_path / "kitchen.fifo"
    os.mkfifo(path)
    content = written("WAV", subtype="PCM_16")
    source = open_source(SourceSpec("recording", str(path)), SourceOptions(pcm=PCM))
    assert source.name == "kitchen"
    source.start()
    time.sleep(0.3)
    assert source.status().state == "starting"
    path.write_bytes(content if recorded else content[44:])
    samples = read_to_end(source.ring)
    source.stop()
    assert len(samples) == 2 * SAMPLE_RATE
    assert source.status().state == "ended"


def test_dev_fd_is_a_source() -> None:
    reading, writing = os.pipe()
    source = open_source(SourceSpec("recording", f"/dev/fd/{reading}"))
    assert source.name == "pipe"
    source.start()
    os.close(reading)
    with os.fdopen(writing, "wb") as file:
        file.write(written("WAV", 48_000))
    assert len(read_to_end(source.ring)) == 2 * SAMPLE_RATE
    source.stop()


def feed(writer: io.FileIO, blocks: int, value: int = 1_000) -> None:
    """Write blocks of 100 ms in real time."""
    for _ in range(blocks):
        writer.write(np.full(2_400, value, dtype="<i2").tobytes())
        time.sleep(0.1)


def test_a_pipe_that_stalls_is_lost_within_two_seconds_and_goes_on_behind_a_gap() -> None:
    reading, writing = os.pipe()
    ring = RingBuffer(10 * SAMPLE_RATE)
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        playback = Playback("stdin", Pipe(reader, PcmFormat("s16le", 24_000, 1)), ring, "as delivered")
        playback.start()
        feed(writer, 5)
        assert playback.status().state == "live"
        began = time.monotonic()
        wait_for(lambda: playback.status().state == "source lost")
        assert 0.9 <= time.monotonic() - began <= 2.0
        assert playback.status().detail == (
            "Standard input is open and delivers nothing; check the program that writes it."
        )
        assert ring.stats().gaps == 1
        feed(writer, 3, 2_000)
        assert playback.status().state == "live"
    playback.stop()
    chunks = list(iter(lambda: ring.read(1, 10 * SAMPLE_RATE), None))
    assert [(len(chunk.samples), chunk.broken) for chunk in chunks] == [(12_000, False), (7_200, True)]


def test_a_pipe_that_delivers_in_bursts_or_zeros_is_live() -> None:
    reading, writing = os.pipe()
    ring = RingBuffer(10 * SAMPLE_RATE)
    states = set()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        playback = Playback("stdin", Pipe(reader, PcmFormat("s16le", 24_000, 1)), ring, "as delivered")
        playback.start()
        for _ in range(3):  # a second of zeros each second
            writer.write(bytes(2 * SAMPLE_RATE))
            for _ in range(10):
                time.sleep(0.1)
                states.add(playback.status().state)
    playback.stop()
    assert states <= {"starting", "live"}
    assert ring.stats().gaps == 0


def test_a_recording_in_a_pipe_that_stalls_is_lost_too_and_can_be_stopped() -> None:
    reading, writing = os.pipe()
    ring = RingBuffer(10 * SAMPLE_RATE)
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        playback = Playback("stdin", Pipe(reader, PcmFormat()), ring, "as delivered")
        playback.start()
        threading.Thread(target=writer.write, args=(written("WAV", subtype="PCM_16"),)).start()
        wait_for(lambda: ring.stats().written > SAMPLE_RATE)
        wait_for(lambda: playback.status().state == "source lost")
        began = time.monotonic()
        playback.stop()
        assert time.monotonic() - began < 2.0


def test_a_pipe_that_never_delivers_is_lost() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb"):
        playback = Playback("stdin", Pipe(reader, PcmFormat()), RingBuffer(SAMPLE_RATE), "as delivered")
        playback.start()
        assert playback.status().state == "starting"
        wait_for(lambda: playback.status().state == "source lost")
        playback.stop()


def test_a_channel_that_a_piped_recording_lacks_is_said() -> None:
    pipe = Pipe(io.BytesIO(written("WAV")), PcmFormat())
    playback = Playback("stdin", pipe, RingBuffer(SAMPLE_RATE), FAST, channel=1)
    playback.start()
    wait_for(lambda: playback.status().state == "failed")
    assert "Channel 1 of standard input does not exist: it has 1" in playback.status().detail
    playback.stop()
