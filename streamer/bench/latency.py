"""Latency from a click in a microphone to the message at a subscriber, split into stages.

A click train is played into a virtual microphone; the monitor's own parts capture it in this process; a broker and a
subscriber run in processes of their own. The program promises a limit on the time from the callback that completes a
hop to the arrival of the message. The time before that belongs to the device and to the resampler's filter; it is
listed apart.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamer.bench.figures import Criterion, Percentiles, percentiles
from streamer.bench.stopwatch import Emitted, Write
from streamer.errors import StreamerError

LIMIT_MS = 60.0  # p95, from the callback that completes a hop to the arrival of the message
STAGES = ("resample", "ring wait", "level and voice", "encode", "pool", "publish")  # they add up to the promised time
BEFORE = ("device", "resampler's delay", "wait for the hop's end")  # of a click, before the promised time begins


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of the measurement."""

    broker: str
    microphone: str
    torch_device: str
    hop_ms: float
    block_ms: float  # of the device's buffer: the audio of one callback
    stated_device_latency_ms: float | None  # as PortAudio states it for its input


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """The figures, all in milliseconds."""

    conditions: Conditions
    windows: int
    clicks: int
    stages: Mapping[str, Percentiles]  # of every window
    promised: Percentiles  # the callback that completes the hop → arrival: the sum of the stages
    from_capture: Percentiles  # the window's last sample, by the capture clock → arrival
    before: Mapping[str, Percentiles]  # of every click
    from_click: Percentiles  # played → arrival of the first window that holds it
    criteria: tuple[Criterion, ...]


def report(
    conditions: Conditions,
    writes: Sequence[Write],
    emitted: Sequence[Emitted],
    arrivals_s: Mapping[int, float],
    played_s: Sequence[float],
    clicks: Sequence[int],
) -> LatencyReport:
    """Compute the report from the moments that the stopwatch noted.

    Args:
        conditions: passed on.
        writes: into the ring over the whole run, in order.
        emitted: the windows to measure.
        arrivals_s: a window's seq → monotonic arrival time of its message.
        played_s: monotonic time at which each click was played.
        clicks: position at which each was captured, in the same order.

    Raises:
        StreamerError: clicks or messages are missing.
    """
    if len(clicks) != len(played_s):
        raise StreamerError(
            f"Of {len(played_s)} clicks {len(clicks)} were captured; measure on a machine that is less busy."
        )
    arrived = [window for window in emitted if window.seq in arrivals_s]
    if len(arrived) < len(emitted) or not arrived:
        raise StreamerError(
            f"Of {len(emitted)} windows {len(arrived)} reached the subscriber; measure on a machine that is less busy."
        )
    stages = [_stages_s(writes, window, arrivals_s[window.seq]) for window in arrived]
    before = [_before_s(writes, arrived, p, c) for p, c in zip(played_s, clicks, strict=True)]
    promised = _ms([sum(spans) for spans in stages])
    firsts = [arrived[_first_holding(arrived, click)] for click in clicks]
    return LatencyReport(
        conditions=conditions,
        windows=len(arrived),
        clicks=len(clicks),
        stages={name: _ms(values) for name, values in zip(STAGES, zip(*stages, strict=True), strict=True)},
        promised=promised,
        from_capture=_ms([arrivals_s[window.seq] - window.captured_s for window in arrived]),
        before={name: _ms(values) for name, values in zip(BEFORE, zip(*before, strict=True), strict=True)},
        from_click=_ms([arrivals_s[window.seq] - p for window, p in zip(firsts, played_s, strict=True)]),
        criteria=(
            Criterion(
                "callback that completes a hop → message, p95",
                f"≤ {LIMIT_MS:g} ms", f"{promised.p95:.1f} ms", promised.p95 <= LIMIT_MS,
            ),
        ),
    )  # fmt: skip


def _stages_s(writes: Sequence[Write], window: Emitted, arrived_s: float) -> tuple[float, ...]:
    """Return the seconds of every stage, from the callback after which the ring holds the whole hop."""
    write = writes[bisect_left(writes, window.position, key=lambda write: write.written_position)]
    moments = (
        write.called_s,
        write.written_s,
        window.read_s,
        window.encode_s,
        window.encoded_s,
        window.sent_s,
        arrived_s,
    )
    return tuple(after - before for before, after in pairwise(moments))


def _before_s(writes: Sequence[Write], windows: Sequence[Emitted], played_s: float, click: int) -> tuple[float, ...]:
    """Return the seconds from a click to its callback, to the one that moves it through the resampler, to its hop's."""
    carried = next(write for write in writes if write.captured_position > click).called_s
    resampled = next(write for write in writes if write.written_position > click).called_s
    end = windows[_first_holding(windows, click)].position
    completed = writes[bisect_left(writes, end, key=lambda write: write.written_position)].called_s
    return carried - played_s, resampled - carried, completed - resampled


def _first_holding(windows: Sequence[Emitted], click: int) -> int:
    """Return the index of the first window that ends after sample `click`."""
    return bisect_right(windows, click, key=lambda window: window.position)


def _ms(seconds: Sequence[float]) -> Percentiles:
    return percentiles([1000 * value for value in seconds])
