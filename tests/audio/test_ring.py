"""The ring buffer against simple truths: every sample is read once or counted as lost, and time never falls."""

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio import ring as ring_module
from streamer.audio.ring import Chunk, RingBuffer
from streamer.constants import SAMPLE_RATE


def samples(start: int, count: int) -> np.ndarray:
    """Samples whose value is their position (exact in float32 below 2^24)."""
    return np.arange(start, start + count, dtype=np.float32)


def fill(ring: RingBuffer, count: int, captured: tuple[float, float] | None = None) -> None:
    ring.write(samples(ring.stats().written, count), captured)


def drain(ring: RingBuffer, most: int = 7) -> list[Chunk]:
    return list(iter(lambda: ring.read(1, most), None))


Operation = tuple[str, int, int, int]
operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 40), st.just(0), st.just(0)),
        st.tuples(st.just("gap"), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 12), st.integers(0, 12), st.integers(1, 5)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(capacity=st.integers(12, 30), steps=operations)
def test_every_sample_is_read_once_in_order_or_counted_as_lost(capacity: int, steps: list[Operation]) -> None:
    ring = RingBuffer(capacity)
    gaps: list[int] = []
    position = lost = read = 0

    def check(chunk: Chunk, least: int, most: int, multiple: int) -> None:
        nonlocal position, lost, read
        end = chunk.start + len(chunk.samples)
        np.testing.assert_array_equal(chunk.samples, samples(chunk.start, len(chunk.samples)))
        assert chunk.start - position == chunk.lost
        assert 0 < len(chunk.samples) <= most
        assert not any(chunk.start < gap < end for gap in gaps)
        assert chunk.broken == (chunk.lost > 0 or any(position <= gap <= chunk.start for gap in gaps))
        if len(chunk.samples) < least or len(chunk.samples) % multiple:
            assert end in gaps or (ring.stats().ended and end == ring.stats().written)
        position, lost, read = end, lost + chunk.lost, read + len(chunk.samples)

    for kind, a, b, multiple in steps:
        written = ring.stats().written
        if kind == "write":
            fill(ring, a)
        elif kind == "gap":
            ring.mark_gap()
            if written and written not in gaps:
                gaps.append(written)
        elif (most := a + b) // multiple * multiple >= a:
            chunk = ring.read(a, most, multiple)
            if chunk is None:
                held = ring.available()
                start = written - held
                assert not any(start < gap <= written for gap in gaps), "what lies before a gap can always be read"
                assert min(held, most) // multiple * multiple < a
            else:
                check(chunk, a, most, multiple)
    ring.end()
    while (chunk := ring.read(5, 10, 5)) is not None:
        check(chunk, 5, 10, 5)
    stats = ring.stats()
    assert ring.available() == 0
    assert read + lost == stats.written == stats.read
    assert lost == stats.overwritten
    assert stats.gaps == len(gaps)


def test_a_loss_is_reported_even_after_a_read_without_samples() -> None:
    ring = RingBuffer(10)
    fill(ring, 13)
    assert ring.read(9, 12, 4) is None  # ten are held, and eight are too few
    chunk = ring.read(1, 10)
    assert chunk is not None
    assert (chunk.start, chunk.lost, chunk.broken) == (3, 3, True)


def test_a_gap_is_announced_once_and_only_between_samples() -> None:
    ring = RingBuffer(100)
    ring.mark_gap()
    fill(ring, 10)
    ring.mark_gap()
    ring.mark_gap()
    fill(ring, 10)
    assert [(c.start, len(c.samples), c.broken) for c in drain(ring, 100)] == [(0, 10, False), (10, 10, True)]
    assert ring.stats().gaps == 1


def test_what_is_left_before_a_gap_comes_shorter_than_the_least() -> None:
    ring = RingBuffer(100)
    fill(ring, 25)
    assert ring.read(10, 20, 10) is not None
    assert ring.read(10, 20, 10) is None
    ring.mark_gap()
    chunk = ring.read(10, 20, 10)
    assert chunk is not None
    assert len(chunk.samples) == 5


def test_what_is_left_at_the_end_comes_shorter_than_the_least() -> None:
    ring = RingBuffer(100)
    fill(ring, 5)
    assert ring.read(10, 20, 10) is None
    ring.end()
    chunk = ring.read(10, 20, 10)
    assert chunk is not None
    assert len(chunk.samples) == 5
    assert not chunk.broken
    assert ring.read(10, 20, 10) is None


def test_a_chunk_is_a_copy() -> None:
    ring = RingBuffer(4)
    fill(ring, 4)
    chunk = ring.read(1, 4)
    fill(ring, 4)
    assert chunk is not None
    np.testing.assert_array_equal(chunk.samples, samples(0, 4))


@pytest.mark.parametrize(("least", "most", "multiple"), [(0, 5, 1), (6, 5, 1), (4, 5, 3), (11, 20, 1)])
def test_bounds_that_no_chunk_can_meet_are_refused(least: int, most: int, multiple: int) -> None:
    with pytest.raises(ValueError, match="No chunk"):
        RingBuffer(10).read(least, most, multiple)


def test_a_ring_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        RingBuffer(0)


def test_a_write_and_the_end_wake_the_reader() -> None:
    wake = threading.Event()
    ring = RingBuffer(10, wake)
    fill(ring, 1)
    assert wake.is_set()
    wake.clear()
    ring.end()
    assert wake.is_set()


@pytest.mark.parametrize("waiting", [False, True], ids=["overwriting", "waiting"])
def test_two_threads_lose_and_repeat_nothing_uncounted(waiting: bool) -> None:
    ring, total, never = RingBuffer(3_000), 300_000, threading.Event()

    def write() -> None:
        rng = np.random.default_rng(1)
        done = 0
        while done < total:
            count = min(int(rng.integers(1, 4_000 if waiting else 900)), total - done)
            if waiting:
                assert ring.write_waiting(samples(done, count), never)
            else:
                ring.write(samples(done, count))
            done += count
        ring.end()

    writer = threading.Thread(target=write)
    writer.start()
    position = lost = 0
    while not ring.stats().ended or ring.available():
        chunk = ring.read(320, 1_920, 320)
        if chunk is None:
            ring.on_write.wait(0.05)
            ring.on_write.clear()
            continue
        assert chunk.start == position + chunk.lost
        np.testing.assert_array_equal(chunk.samples, samples(chunk.start, len(chunk.samples)))
        position, lost = chunk.start + len(chunk.samples), lost + chunk.lost
        if position % 7 == 0:
            time.sleep(0.0005)
    writer.join()
    assert position == total
    assert lost == ring.stats().overwritten
    assert not (waiting and lost)


def test_a_waiting_writer_can_be_stopped() -> None:
    ring, stop = RingBuffer(10), threading.Event()
    result: list[bool] = []
    writer = threading.Thread(target=lambda: result.append(ring.write_waiting(samples(0, 50), stop)))
    writer.start()
    stop.set()
    writer.join(timeout=2.0)
    assert result == [False]
    assert ring.stats().overwritten == 0


def test_time_is_unknown_before_the_first_anchor() -> None:
    ring = RingBuffer(10)
    fill(ring, 5)
    assert ring.time_of(3) is None


def test_time_is_interpolated_between_anchors_and_extrapolated_around_them() -> None:
    ring = RingBuffer(100_000)
    fill(ring, 24_000, (24_000, 1001.0))
    fill(ring, 24_000, (48_000, 1003.0))  # the device runs at half its rate
    assert ring.time_of(0) == pytest.approx(1000.0)
    assert ring.time_of(24_000) == pytest.approx(1001.0)
    assert ring.time_of(36_000) == pytest.approx(1002.0)
    assert ring.time_of(72_000) == pytest.approx(1004.0)


def test_an_anchor_past_the_newest_sample_is_one_too() -> None:
    ring = RingBuffer(100_000)
    fill(ring, 24_000 - 600, (24_000, 1001.0))
    assert ring.time_of(24_000 - 600) == pytest.approx(1001.0 - 600 / SAMPLE_RATE)


def test_time_does_not_leak_across_a_gap() -> None:
    ring = RingBuffer(100_000)
    fill(ring, 2_400, (2_400, 1000.1))
    ring.mark_gap()
    fill(ring, 2_400, (4_800, 1060.1))
    assert ring.time_of(2_400) == pytest.approx(1000.1)
    assert ring.time_of(2_401) == pytest.approx(1060.0, abs=1e-3)
    assert ring.time_of(4_800) == pytest.approx(1060.1)


def test_the_time_before_a_gap_is_forgotten_late_enough() -> None:
    ring = RingBuffer(1_000)
    for end in range(100, 10_100, 100):
        fill(ring, 100, (end, 1000 + end / SAMPLE_RATE))
        if end == 9_000:
            ring.mark_gap()
    assert ring.time_of(8_500) == pytest.approx(1000 + 8_500 / SAMPLE_RATE)
    assert len(ring._runs) == 2
    assert sum(len(run.anchors) for run in ring._runs) < 40


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 600), st.floats(0.0, 0.05), st.sampled_from(["", "", "gap"]), st.floats(0, 2)),
        min_size=1,
        max_size=40,
    )
)
def test_time_never_falls_whatever_the_callbacks_do(blocks: list[tuple[int, float, str, float]]) -> None:
    ring, elapsed_s = RingBuffer(30_000), 1000.0
    for count, late_s, gap, away_s in blocks:
        if gap:
            ring.mark_gap()
            elapsed_s += away_s
        elapsed_s += count / SAMPLE_RATE
        fill(ring, count, (ring.stats().written + count, elapsed_s + late_s))
    times = [ring.time_of(position) for position in range(0, ring.stats().written + 1, 13)]
    assert all(a is not None and b is not None and a <= b for a, b in itertools.pairwise(times))


def test_the_recent_samples_are_those_since_the_position_given() -> None:
    ring = RingBuffer(100)
    ring.write(samples(0, 60))
    assert ring.recent(40)[0].tolist() == samples(40, 20).tolist()
    assert len(ring.recent(60)[0]) == 0


def test_recent_leaves_out_what_was_overwritten() -> None:
    ring = RingBuffer(100)
    ring.write(samples(0, 250))
    recent, position = ring.recent(0)
    assert (recent.tolist(), position) == (samples(150, 100).tolist(), 250)


def test_recent_takes_nothing_from_the_reader() -> None:
    ring = RingBuffer(100)
    ring.write(samples(0, 50))
    ring.recent(0)
    chunk = ring.read(50, 50)
    assert chunk is not None
    assert chunk.samples.tolist() == samples(0, 50).tolist()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass only where a test says so."""
    now = [100.0]
    monkeypatch.setattr(ring_module, "elapsed_s", lambda: now[0])
    monkeypatch.setattr(ring_module, "wall_s", lambda: now[0] + 1e9)
    return now


def hear(ring: RingBuffer, clock: list[float], length_s: float = 0.5, late_s: float = 0.0) -> None:
    clock[0] += length_s
    fill(ring, round(length_s * SAMPLE_RATE), captured=(ring.stats().written, clock[0] + 1e9 - late_s))


def test_the_seconds_of_a_gap_are_counted_while_it_lasts_and_after(clock: list[float]) -> None:
    ring = RingBuffer(SAMPLE_RATE)
    hear(ring, clock)
    clock[0] += 1.0
    ring.mark_gap()  # the loss was noticed a second later
    assert ring.stats().gap_s == pytest.approx(1.0)
    clock[0] += 4.0
    ring.mark_gap()  # another attempt that failed
    assert ring.stats().gap_s == pytest.approx(5.0)
    hear(ring, clock)
    assert ring.stats().gap_s == pytest.approx(5.0)
    clock[0] += 0.02  # late, and no gap
    hear(ring, clock)
    assert ring.stats().gap_s == pytest.approx(5.0)


def test_audio_that_is_written_late_was_not_missing_and_does_not_shorten_a_gap(clock: list[float]) -> None:
    ring = RingBuffer(SAMPLE_RATE)
    hear(ring, clock)
    clock[0] += 3.0  # stopped, with a block in the queue
    hear(ring, clock, 0.02, late_s=3.0)
    ring.mark_gap()
    hear(ring, clock)
    assert ring.stats().gap_s == pytest.approx(3.0)


def test_a_wall_clock_that_was_set_is_no_missing_audio(clock: list[float]) -> None:
    ring = RingBuffer(SAMPLE_RATE)
    for late_s in (0.0, 3_600.0, -3_600.0):
        hear(ring, clock, late_s=late_s)
    ring.mark_gap()
    hear(ring, clock)
    assert ring.stats().gap_s == pytest.approx(0.0, abs=0.6)


def test_a_mute_is_no_missing_audio(clock: list[float]) -> None:
    ring = RingBuffer(SAMPLE_RATE)
    hear(ring, clock)
    ring.mark_gap()
    clock[0] += 2.0
    ring.mark_gap(muted=True)  # muted while the device was away
    clock[0] += 30.0
    ring.mark_gap()
    hear(ring, clock)
    assert ring.stats().gap_s == pytest.approx(2.0)


def test_before_the_first_audio_nothing_is_missing(clock: list[float]) -> None:
    ring = RingBuffer(SAMPLE_RATE)
    ring.mark_gap()
    clock[0] += 9.0
    hear(ring, clock)
    assert ring.stats().gap_s == 0.0
