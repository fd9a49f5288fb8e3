"""The largest number of streams that one machine encodes in real time.

One step copies one hop of every stream from host memory to the device, encodes it, and waits for the frames. The
weights are random numbers that float16 holds, like those of the shipped checkpoints.

With a share of speech, a step is one of the whole inference with the shipped model, which rests where nobody speaks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from streamer.bench.conversation import LATE_HOPS, follow, make_conversation
from streamer.bench.figures import percentile
from streamer.bench.timing import cpu_threads, matrix_gflops, synchronize, time_ms
from streamer.codec import Encoder, StreamingEncoder
from streamer.codec.cpu.pack import check_supported
from streamer.codec.precision import Precision
from streamer.constants import DEFAULT_WINDOW_S, FRAME_RATE, FRAME_SAMPLES, STARTUP_SAMPLES
from streamer.emotion.model import EmotionDetectionModel
from streamer.pipeline.inference import Inference
from streamer.pipeline.windows import InferenceSettings

WARM_UPS = 3  # steps
COARSE = 0.04  # with a share of speech: how exactly the number is found, for each number takes most of a minute
MIN_SPEECH = 0.3  # as `voice.min_speech`

OnTried = Callable[["CapacityRow"], None]


@dataclass(frozen=True, slots=True)
class CapacityRow:
    """Step times with one number of streams. A time is that of one step of all streams together."""

    streams: int
    steps: int  # timed; fewer than requested where p99 was certain to be late before the end
    step_p50_ms: float
    step_p99_ms: float
    real_time: bool  # p99 below the hop; with a share of speech: below two hops, and no window would be skipped
    result_p99_ms: float | None = None  # with a share of speech: from the end of a hop to its results


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
    speech: float | None = None  # share of the time in which each stream has speech


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What to measure."""

    hop_frames: int = 18  # frames of 13.3 ms that every stream yields a step
    device: str = "cpu"  # a name of torch; the caller resolves `auto`
    precision: Precision = "float32"  # as `model.precision`
    threads: int = 1  # CPU threads of torch during the measurement
    speech: float | None = None  # share of the time with speech, for the whole inference; None: the encoder alone
    steps: int = 100  # timed for each number of streams, at least 1; p99 is the nearest rank
    limit: int = 4096  # the most streams to try

    @property
    def hop_ms(self) -> float:
        """Length of a hop."""
        return 1000 * self.hop_frames / FRAME_RATE


def find_capacity(plan: CapacityPlan, on_tried: OnTried | None = None) -> Capacity:
    """Double the number of streams until the p99 of a step exceeds the hop, then bisect the interval in between.

    Args:
        plan: what to measure.
        on_tried: called with each row as soon as it is measured.

    Raises:
        UsageError: this device does not support the precision.
    """
    device = torch.device(plan.device)
    check_supported(plan.precision, device.type)
    rows: dict[int, CapacityRow] = {}

    def holds(streams: int) -> bool:
        row = rows[streams] = (_time_steps if plan.speech is None else _time_conversation)(streams, device, plan)
        if on_tried:
            on_tried(row)
        return row.real_time

    with cpu_threads(plan.threads):
        gflops = matrix_gflops(device)
        largest = largest_passing(holds, plan.limit, 0.0 if plan.speech is None else COARSE)
    return Capacity(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else plan.device,
        precision=plan.precision,
        threads=plan.threads,
        hop_ms=plan.hop_ms,
        gflops=gflops,
        largest=largest,
        at_limit=largest == plan.limit,
        rows=tuple(rows[streams] for streams in sorted(rows)),
        speech=plan.speech,
    )


def largest_passing(holds: Callable[[int], bool], limit: int, coarse: float = 0.0) -> int:
    """Return the largest number from 1 to `limit` that `holds`, assuming that all below do; 0 if 1 does not.

    With `coarse`, one that holds while another, larger by that share at most, does not.
    """
    good = 0
    while good < limit:
        tried = min(max(1, 2 * good), limit)
        if not holds(tried):
            break
        good = tried
    else:
        return limit
    while tried - good > max(1, coarse * good):  # good holds, tried does not
        middle = (good + tried) // 2
        if holds(middle):
            good = middle
        else:
            tried = middle
    return good


def _time_steps(streams: int, device: torch.device, plan: CapacityPlan) -> CapacityRow:
    """Time steps of `streams` streams, or fewer once so many are late that p99 cannot be in time."""
    hop_ms, steps = plan.hop_ms, plan.steps
    streaming = _start_streams(streams, device, plan)
    chunks = 0.1 * torch.randn(streams, 1, plan.hop_frames * FRAME_SAMPLES)
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


def _time_conversation(streams: int, device: torch.device, plan: CapacityPlan) -> CapacityRow:
    """Time the whole inference over the hops of streams with that share of speech, or fewer once p99 is late."""
    assert plan.speech is not None
    torch.backends.cudnn.allow_tf32 = False
    model = EmotionDetectionModel.from_checkpoint("bundled", DEFAULT_WINDOW_S)
    reduced = plan.precision == "bfloat16" and device.type != "cpu"
    if not reduced:
        model.encoder.precision = plan.precision
    window_frames = round(DEFAULT_WINDOW_S * FRAME_RATE)
    dtype = torch.bfloat16 if reduced else torch.float32
    settings = InferenceSettings(window_frames, plan.hop_frames, dtype, min_speech=MIN_SPEECH, rest=True)
    inference = Inference(model, streams, settings, device=str(device))
    inference.warm_up()
    conversation = make_conversation(streams, plan.speech)

    def step(first: int, count: int) -> float:
        audio = conversation.hops(first, count, plan.hop_frames)
        return time_ms(lambda: inference.step(audio))

    delays = follow(step, plan.hop_frames, plan.steps, late=plan.steps // 100)
    p99, result_p99 = (percentile(ms, 0.99) for ms in (delays.step_ms, delays.result_ms))
    in_time = result_p99 < LATE_HOPS * plan.hop_ms and not delays.behind
    return CapacityRow(streams, len(delays.step_ms), median(delays.step_ms), p99, in_time, result_p99)


def _start_streams(streams: int, device: torch.device, plan: CapacityPlan) -> StreamingEncoder:
    """Start an encoder as the monitor does: off the CPU, the precision is the weights' dtype and a step is captured."""
    torch.backends.cudnn.allow_tf32 = False
    encoder = Encoder().half().float().eval().requires_grad_(False)
    encoder.precision = plan.precision
    dtype = torch.bfloat16 if plan.precision == "bfloat16" and device.type != "cpu" else torch.float32
    streaming = StreamingEncoder(encoder.to(device, dtype), streams)
    streaming.prepare(plan.hop_frames * FRAME_SAMPLES)
    streaming.step(0.1 * torch.randn(streams, 1, STARTUP_SAMPLES))
    return streaming
