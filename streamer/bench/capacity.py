"""The largest number of streams that one machine encodes in real time.

A step takes one hop of every stream from memory of the host to frames on the device, and waits for them. The weights are
random: they do not change the time.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from streamer.bench.timing import cpu_threads, matrix_gflops, nearest_rank, time_ms, wait_for
from streamer.codec import Encoder, StreamingEncoder
from streamer.codec.cpu.pack import Precision, check_supported
from streamer.constants import FRAME_RATE, FRAME_SAMPLES, STARTUP_SAMPLES

WARM_UPS = 3  # steps

OnTried = Callable[["CapacityRow"], None]


@dataclass(frozen=True, slots=True)
class CapacityRow:
    """One number of streams. Times are of one step of all of them together."""

    streams: int
    steps: int  # timed; fewer than asked for where it was clear before that they take too long
    step_p50_ms: float
    step_p99_ms: float
    real_time: bool  # p99 below the hop


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was tried, in rising order, and the largest number that held."""

    device: str  # its name
    precision: Precision
    threads: int  # of the CPU
    hop_ms: float
    gflops: float  # of a float32 matrix product of 1,024 x 1,024 x 1,024 on the same device, median
    largest: int  # 0 where not even one stream holds
    at_limit: bool  # the search ended at its limit; there may be room for more
    rows: tuple[CapacityRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def largest(
    *,
    hop_frames: int = 18,
    device: str = "cpu",
    precision: Precision = "float32",
    threads: int = 1,
    steps: int = 100,
    limit: int = 4096,
    on_tried: OnTried | None = None,
) -> Capacity:
    """Doubles the streams until a step's p99 exceeds the hop, then halves the interval in between.

    Args:
        hop_frames: every stream gives so many frames of 13.3 ms a step.
        device: as torch names it; `auto` is resolved by the caller.
        precision: as `model.precision`.
        threads: for torch on the CPU; what was set before is set again in the end.
        steps: timed for each number of streams, at least 1; p99 is the nearest rank.
        limit: no more streams than that are tried.
        on_tried: told each row as soon as it is measured.

    Raises:
        UsageError: the precision is not to be had on this device.
    """
    where = torch.device(device)
    check_supported(precision, where.type)
    hop_ms = 1000 * hop_frames / FRAME_RATE
    rows: dict[int, CapacityRow] = {}

    def holds(streams: int) -> bool:
        row = _try(streams, hop_frames, where, precision, steps)
        rows[streams] = row
        if on_tried:
            on_tried(row)
        return row.real_time

    with cpu_threads(threads):
        gflops = matrix_gflops(where)
        most = search(holds, limit)
    return Capacity(
        device=torch.cuda.get_device_name(where) if where.type == "cuda" else device,
        precision=precision,
        threads=threads,
        hop_ms=hop_ms,
        gflops=gflops,
        largest=most,
        at_limit=most == limit,
        rows=tuple(rows[streams] for streams in sorted(rows)),
    )


def search(holds: Callable[[int], bool], limit: int) -> int:
    """The largest number from 1 to `limit` for which `holds`, if it holds for all below; 0 if not even for 1."""
    good = 0
    while good < limit:
        tried = min(max(1, 2 * good), limit)
        if not holds(tried):
            break
        good = tried
    else:
        return limit
    while tried - good > 1:  # good holds, tried does not
        middle = (good + tried) // 2
        if holds(middle):
            good = middle
        else:
            tried = middle
    return good


def _try(streams: int, hop_frames: int, device: torch.device, precision: Precision, steps: int) -> CapacityRow:
    """Times steps of `streams` streams until all are taken, or too many are late for p99 to be in time."""
    hop_ms = 1000 * hop_frames / FRAME_RATE
    streaming = _started(streams, hop_frames, device, precision)
    chunks = 0.1 * torch.randn(streams, 1, hop_frames * FRAME_SAMPLES)
    if device.type == "cuda":
        chunks = chunks.pin_memory()

    def step() -> None:
        streaming.step(chunks)
        wait_for(device)

    for _ in range(WARM_UPS):
        step()
    times_ms: list[float] = []
    while len(times_ms) < steps and sum(ms >= hop_ms for ms in times_ms) <= steps / 100:
        times_ms.append(time_ms(step))
    p99 = nearest_rank(times_ms, 0.99)
    return CapacityRow(streams, len(times_ms), median(times_ms), p99, real_time=p99 < hop_ms)


def _started(streams: int, hop_frames: int, device: torch.device, precision: Precision) -> StreamingEncoder:
    """As the monitor starts it: elsewhere than on the CPU a precision is the weights' type, and a step is captured."""
    torch.backends.cudnn.allow_tf32 = False
    encoder = Encoder().eval().requires_grad_(False)
    encoder.precision = precision
    dtype = torch.bfloat16 if precision == "bfloat16" and device.type != "cpu" else torch.float32
    streaming = StreamingEncoder(encoder.to(device, dtype), streams)
    streaming.prepare(hop_frames * FRAME_SAMPLES)
    streaming.step(0.1 * torch.randn(streams, 1, STARTUP_SAMPLES))
    return streaming
