"""Raw PCM from a pipe, played as a source."""

import gc
import io
import os

import numpy as np
import pytest
import soxr

from streamer.audio.resample import to_mono
from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.errors import UsageError
from streamer.sources.pipe import Pipe
from streamer.sources.playback import Playback
from streamer.sources.source import PcmFormat
from tests.sources.playing import FAST, noise, play


class Trickle(io.RawIOBase):
    """A stream that returns `content` in pieces of changing, awkward sizes."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self._sizes = iter(([1, 3, 2, 777, 5] * len(content))[: len(content) + 1])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        piece = self._content.read(min(len(buffer), next(self._sizes)))
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (24_000, 3)])
def test_frames_split_between_reads_are_joined(encoding: str, rate_hz: int, channels: int) -> None:
    signal = noise(rate_hz // 4, channels)
    block = (signal * 32_767).astype("<i2") if encoding == "s16le" else signal.astype("<f4")
    pipe = Pipe(Trickle(block.tobytes()), PcmFormat(encoding, rate_hz, channels))  # type: ignore[arg-type]
    samples, playback = play(pipe)
    np.testing.assert_array_equal(samples, soxr.resample(to_mono(block), rate_hz, SAMPLE_RATE))
    assert playback.status().detail == ""


def test_a_pipe_that_ends_in_the_middle_of_a_frame_says_so() -> None:
    samples, playback = play(Pipe(io.BytesIO(b"\0" * 4_803), PcmFormat("s16le", 24_000, 1)))
    assert len(samples) == 2_401
    assert "ended with 1 bytes of an unfinished frame; check --format" in playback.status().detail


def test_a_pipe_without_audio_says_so() -> None:
    samples, playback = play(Pipe(io.BytesIO(b""), PcmFormat()))
    assert len(samples) == 0
    assert "ended before it delivered any audio" in playback.status().detail


def test_a_terminal_is_no_pipe() -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "rb", buffering=0) as terminal:
        playback = Playback("stdin", Pipe(terminal, PcmFormat()), RingBuffer(10), FAST)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="Standard input is a terminal; pipe raw PCM or a recording into it"):
            playback.start()
    os.close(master)


def test_a_pipe_without_another_reference_stays_open() -> None:
    reading, writing = os.pipe()
    pipe = Pipe(os.fdopen(reading, "rb"), PcmFormat("s16le", 24_000, 1))
    pipe.open()
    gc.collect()
    os.write(writing, bytes(640))
    os.close(writing)
    block = pipe.read(320)
    pipe._stream._given.close()
    assert block is not None
    assert len(block) == 320
