"""The level meter: figures a person can check by hand, whatever the chunks."""

import numpy as np
import pytest

from streamer.audio.meter import FLOOR_DBFS, LevelMeter, rms_and_peak_dbfs
from streamer.constants import SAMPLE_RATE


def sine(seconds: float, amplitude: float) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)


def test_a_full_scale_sine_reads_minus_three_and_zero() -> None:
    rms_dbfs, peak_dbfs = rms_and_peak_dbfs(sine(1.0, 1.0))
    assert rms_dbfs == pytest.approx(-3.01, abs=0.01)
    assert peak_dbfs == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("samples", [np.zeros(100, np.float32), np.zeros(0, np.float32)])
def test_silence_reads_the_floor_and_not_minus_infinity(samples: np.ndarray) -> None:
    assert rms_and_peak_dbfs(samples) == (FLOOR_DBFS, FLOOR_DBFS)


def test_there_is_no_reading_before_the_first_block() -> None:
    meter = LevelMeter()
    meter.feed(np.zeros(100, np.float32))
    assert meter.reading() is None


@pytest.mark.parametrize("size", [1, 37, 480, 5760, 100_000])
def test_chunks_of_any_size_read_the_same(size: int) -> None:
    audio = np.concatenate([sine(0.5, 0.5), np.zeros(3000, np.float32), sine(0.3, 0.01)])
    whole, parts = LevelMeter(), LevelMeter()
    whole.feed(audio)
    for start in range(0, len(audio), size):
        parts.feed(audio[start : start + size])
    assert parts.reading() == whole.reading()


def test_the_peak_is_held_for_a_second_and_a_half_and_then_let_go() -> None:
    meter = LevelMeter()
    meter.feed(sine(0.1, 0.5))
    meter.feed(np.zeros(int(1.0 * SAMPLE_RATE), np.float32))
    reading = meter.reading()
    assert reading is not None
    assert reading.hold_dbfs == pytest.approx(-6.0, abs=0.1)
    assert reading.peak_dbfs == FLOOR_DBFS
    meter.feed(np.zeros(SAMPLE_RATE, np.float32))
    later = meter.reading()
    assert later is not None
    assert later.hold_dbfs == FLOOR_DBFS


def test_the_noise_floor_is_what_remains_between_words() -> None:
    meter = LevelMeter()
    for _ in range(10):
        meter.feed(sine(0.6, 0.3))
        meter.feed(sine(0.4, 0.001))
    reading = meter.reading()
    assert reading is not None
    assert reading.noise_dbfs == pytest.approx(-63.0, abs=0.5)


def test_clipping_is_counted_in_blocks() -> None:
    meter = LevelMeter()
    meter.feed(np.clip(sine(0.1, 2.0), -1, 1))
    meter.feed(sine(0.1, 0.9))
    reading = meter.reading()
    assert reading is not None
    assert reading.clipped == 5


def test_the_summary_is_of_ten_seconds_together() -> None:
    meter = LevelMeter()
    assert meter.summary() is None
    meter.feed(sine(1.0, 1.0))  # forgotten by the end
    meter.feed(sine(5.0, 0.5))
    meter.feed(sine(5.0, 0.005))
    summary = meter.summary()
    assert summary is not None
    assert summary.rms_dbfs == pytest.approx(-9.03 - 3.01, abs=0.02)  # half of the time half of the amplitude
    assert summary.peak_dbfs == pytest.approx(-6.02, abs=0.02)
    assert summary.noise_dbfs == pytest.approx(-49.03, abs=0.02)
