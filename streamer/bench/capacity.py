"""The largest number of streams that one machine encodes in real time.

One step copies one hop of every stream from host memory to the device, encodes it, and waits for the frames. The
weights are random numbers that float16 holds, like those of the shipped checkpoints.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from streamer.bench.figures import percentile
from streamer.bench.timing import cpu_threads, matrix_gflops, synchronize, time_ms
from streamer.codec import Encoder, StreamingEncoder
from streamer.codec.cpu.pack import check_supported
from streamer.codec.precision import Precision
from streamer.constants import FRAME_RATE, FRAME_SAMPLES, STARTUP_SAMPLES

WARM_UPS = 3  # steps

OnTried = Callable[["CapacityRow"], None]


@dataclass(frozen=True, slots=True)
class CapacityRow:
    """Step times with one number of streams. A time is that of one step of all streams together."""

    streams: int
    steps: int  # timed; fewer than requested where p99 was certain to be late before the end
    step_p50_ms: float
    step_p99_ms: float
    real_time: bool  # p99 below the hop


@dataclass(frozen=True, slots=True)
class Capacity:
    """The largest number of streams in real time, and every number that was tried, in rising order."""

    device: str  # its name
    precision: Precision
    threads: int  # of the CPU
    hop_ms: float
    gflops: float  # of a float32 matrix product of 1,024 x 1,024 x 1,024 on the same device, median
    largest: int  # 0 if not even one stream runs in real time
    at_limit: bool  # the search ended at its limit; the machine may have room for more
    rows: tuple[CapacityRow, ...]


def find_capacity(
    *,
    hop_frames: int = 18,
    device: str = "cpu",
    precision: Precision = "float32",
    threads: int = 1,
    steps: int = 100,
    limit: int = 4096,
    on_tried: OnTried | None = None,
) -> Capacity:
    """Double the number of streams until the p99 of a step exceeds the hop, then bisect the interval in between.

    Args:
        hop_frames: frames of 13.3 ms that every stream yields a step.
        device: a name of torch; the caller resolves `auto`.
        precision: as `model.precision`.
        threads: CPU threads of torch during the measurement.
        steps: steps timed for each number of streams, at least 1; p99 is the nearest rank.
        limit: the most streams to try.
        on_tried: called with each row as soon as it is measured.

    Raises:
        UsageError: this device does not support the precision.
    """
    torch_device = torch.device(device)
    check_supported(precision, torch_device.type)
    hop_ms = 1000 * hop_frames / FRAME_RATE
    rows: dict[int, CapacityRow] = {}

    def holds(streams: int) -> bool:
        row = _time_steps(streams, hop_frames, torch_device, precision, steps)
        rows[streams] = row
        if on_tried:
            on_tried(row)
        return row.real_time

    with cpu_threads(threads):
        gflops = matrix_gflops(torch_device)
        largest = largest_passing(holds, limit)
    return Capacity(
        device=torch.cuda.get_device_name(torch_device) if torch_device.type == "cuda" else device,
        precision=precision,
        threads=threads,
        hop_ms=hop_ms,
        gflops=gflops,
        largest=largest,
        at_limit=largest == limit,
        rows=tuple(rows[streams] for streams in sorted(rows)),
    )


def largest_passing(holds: Callable[[int], bool], limit: int) -> int:
    """Return the largest number from 1 to `limit` that `holds`, assuming that all below do; 0 if 1 does not."""
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


def _time_steps(streams: int, hop_frames: int, device: torch.device, precision: Precision, steps: int) -> CapacityRow:
    """Time `steps` steps of `streams` streams, or fewer once so many are late that p99 cannot be in time."""
    hop_ms = 1000 * hop_frames / FRAME_RATE
    streaming = _start_streams(streams, hop_frames, device, precision)
    chunks = 0.1 * torch.randn(streams, 1, hop_frames * FRAME_SAMPLES)
    if device.type == "cuda":
        chunks = chunks.pin_memory()

    def step() -> None:
        streaming.step(chunks)
        synchronize(device)

    for _ in range(WARM_UPS):
        step()
    times_ms: list[float] = []
    while len(times_ms) < steps and sum(ms >= hop_ms for ms in times_ms) <= steps / 100:
        times_ms.append(time_ms(step))
    p99 = percentile(times_ms, 0.99)
    return CapacityRow(streams, len(times_ms), median(times_ms), p99, real_time=p99 < hop_ms)


def _start_streams(streams: int, hop_frames: int, device: torch.device, precision: Precision) -> StreamingEncoder:
    """Start an encoder as the monitor does: off the CPU, the precision is the weights' dtype and a step is captured."""
    torch.backends.cudnn.allow_tf32 = False
    encoder = Encoder().half().float().eval().requires_grad_(False)
    encoder.precision = precision
    dtype = torch.bfloat16 if precision == "bfloat16" and device.type != "cpu" else torch.float32
    streaming = StreamingEncoder(encoder.to(device, dtype), streams)
    streaming.prepare(hop_frames * FRAME_SAMPLES)
    streaming.step(0.1 * torch.randn(streams, 1, STARTUP_SAMPLES))
    return streaming
