"""The stopwatch records times without changing the audio that passes."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from streamer.audio.ring import RingBuffer
from streamer.bench.stopwatch import StopwatchRing, StopwatchStep
from streamer.events import Event
from tests.feed.test_board import WINDOW


def ring(calls_s: list[float]) -> StopwatchRing:
    return StopwatchRing(24_000, threading.Event(), calls_s)


def silence(samples: int) -> np.ndarray:
    return np.zeros(samples, dtype=np.float32)


def test_writes_pair_with_callbacks_and_show_the_delay_of_the_resampler() -> None:
    watched = ring([10.0, 10.02])
    watched.write(silence(300), captured=(480.0, 1e9))
    watched.write(silence(480), captured=(960.0, 1e9))
    assert [(w.called_s, w.captured_position, w.written_position) for w in watched.writes] == [
        (10.0, 480.0, 300),
        (10.02, 960.0, 780),
    ]
    assert all(w.written_s > 0 for w in watched.writes)


def test_a_click_is_found_at_its_position_once() -> None:
    watched, calls = ring([0.0] * 3), 0
    block = silence(480)
    block[100:124] = 0.8
    for samples in (silence(480), block, np.roll(block, 200)):
        calls += 480
        watched.write(samples, captured=(calls, 1e9))
    assert watched.clicks == [580]


def test_written_samples_are_read_as_from_any_ring() -> None:
    rng = np.random.default_rng(5)
    plain, watched = RingBuffer(24_000), ring([0.0] * 10)
    for part in np.split(rng.standard_normal(4_000).astype(np.float32), 10):
        for each in (plain, watched):
            each.write(part, captured=(400.0, 1e9))
    assert watched.read_s == 0.0
    a, b = plain.read(320, 3_200, 320), watched.read(320, 3_200, 320)
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.samples, b.samples)
    assert watched.read_s > 0.0
    assert watched.stats() == plain.stats()


@pytest.mark.parametrize(("before", "broken"), [(0, False), (480, True)])
def test_only_a_gap_inside_the_audio_breaks_the_pairing(before: int, broken: bool) -> None:
    watched = ring([0.0])
    watched.write(silence(before), captured=(before, 1e9))
    watched.mark_gap()
    assert watched.broken is broken


def test_a_window_carries_the_times_at_which_the_encoder_began_and_ended() -> None:
    published: list[Event] = []
    step = StopwatchStep(ring([]), published.append)
    model = SimpleNamespace(on_stage=None)
    step.watch(model)  # type: ignore[arg-type]
    model.on_stage("encode begins")
    model.on_stage("encode ends")
    step.send(WINDOW)
    (emitted,) = step.emitted
    assert published == [WINDOW]
    assert 0 < emitted.encode_s <= emitted.encoded_s <= emitted.sent_s
