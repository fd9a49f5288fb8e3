"""From a click in a microphone to the message at a subscriber, and where the time goes in between.

A click train is played into a virtual microphone; the monitor's own parts hear it in this process; a broker and a
subscriber run in processes of their own. What the program promises is the time from the callback that completes a hop
to the message's arrival. What lies before it belongs to the device and to the resampler's filter, and is listed beside.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from streamer.bench.figures import Criterion, Percentiles, percentiles
from streamer.bench.stopwatch import Emitted, Write
from streamer.errors import StreamerError

LIMIT_MS = 60.0  # p95 from the callback that completes a hop to the message's arrival
STAGES = ("resample", "ring wait", "level and voice", "encode", "pool", "publish")  # they add up to the promise
BEFORE = ("device", "resampler's delay", "wait for the hop's end")  # of a click, before the promise begins


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the figures were taken with."""

    broker: str
    microphone: str
    torch_device: str
    hop_ms: float
    block_ms: float  # the device's buffer: a callback brings so much
    stated_device_latency_ms: float | None  # PortAudio's own word for its input


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """All figures in milliseconds."""

    conditions: Conditions
    windows: int
    clicks: int
    stages: Mapping[str, Percentiles]  # of every window
    promised: Percentiles  # the callback that completes the hop → arrival: the sum of the stages
    from_capture: Percentiles  # the window's last sample, by the capture clock → arrival
    before: Mapping[str, Percentiles]  # of every click
    from_click: Percentiles  # played → arrival of the first window that holds it
    criteria: tuple[Criterion, ...]

    @property
    def met(self) -> bool:
        """Every criterion is."""
        return all(criterion.met for criterion in self.criteria)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def report(
    conditions: Conditions,
    writes: Sequence[Write],
    emitted: Sequence[Emitted],
    arrivals_s: Mapping[int, float],
    played_s: Sequence[float],
    clicks: Sequence[int],
) -> LatencyReport:
    """Put the notes together.

    Args:
        conditions: passed on.
        writes: of the whole run, in order.
        emitted: the windows to judge; those without an arrival are left out.
        arrivals_s: window's seq → monotonic moment of its message.
        played_s: monotonic moment of every click.
        clicks: position at which each was heard, in the same order.

    Raises:
        StreamerError: clicks or messages are missing.
    """
    if len(clicks) != len(played_s):
        raise StreamerError(
            f"Of {len(played_s)} clicks {len(clicks)} were heard; measure on a machine that is less busy."
        )
    arrived = [window for window in emitted if window.seq in arrivals_s]
    if len(arrived) < len(emitted) or not arrived:
        raise StreamerError(
            f"Of {len(emitted)} windows {len(arrived)} reached the subscriber; measure on a machine that is less busy."
        )
    passed = [_stages_s(writes, window, arrivals_s[window.seq]) for window in arrived]
    waited = [_before_s(writes, arrived, p, c) for p, c in zip(played_s, clicks, strict=True)]
    promised = _ms([sum(stages) for stages in passed])
    firsts = [arrived[_first_holding(arrived, click)] for click in clicks]
    return LatencyReport(
        conditions=conditions,
        windows=len(arrived),
        clicks=len(clicks),
        stages={name: _ms(values) for name, values in zip(STAGES, zip(*passed, strict=True), strict=True)},
        promised=promised,
        from_capture=_ms([arrivals_s[window.seq] - window.captured_s for window in arrived]),
        before={name: _ms(values) for name, values in zip(BEFORE, zip(*waited, strict=True), strict=True)},
        from_click=_ms([arrivals_s[window.seq] - p for window, p in zip(firsts, played_s, strict=True)]),
        criteria=(
            Criterion(
                "callback that completes a hop → message, p95",
                f"≤ {LIMIT_MS:g} ms", f"{promised.p95:.1f} ms", promised.p95 <= LIMIT_MS,
            ),
        ),
    )  # fmt: skip


def _stages_s(writes: Sequence[Write], window: Emitted, arrived_s: float) -> tuple[float, ...]:
    """The seconds of every stage, from the callback after which the ring held the whole hop."""
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
    """The seconds from a click to its callback, to the one that brings it out of the resampler, to its hop's."""
    carried = next(write for write in writes if write.heard_position > click).called_s
    resampled = next(write for write in writes if write.written_position > click).called_s
    end = windows[_first_holding(windows, click)].position
    completed = writes[bisect_left(writes, end, key=lambda write: write.written_position)].called_s
    return carried - played_s, resampled - carried, completed - resampled


def _first_holding(windows: Sequence[Emitted], click: int) -> int:
    """The index of the first window that ends after sample `click`."""
    return bisect_right(windows, click, key=lambda window: window.position)


def _ms(seconds: Sequence[float]) -> Percentiles:
    return percentiles([1000 * value for value in seconds])
