"""What a streaming step costs on this machine, and what re-encoding a window every hop would cost instead.

Without a streaming encoder, a monitor that looks at the last 3 s every hop encodes those 3 s anew each time with the
`encodec` package. Both are timed here in turns, so that whatever else the machine does falls on both alike. The
weights are random: they do not change the time.
"""

import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil
from statistics import median
from typing import Any

import torch
from torch import Tensor

from streamer.codec.encodec_import import import_encodec
from streamer.codec.streaming import StreamingEncoder
from streamer.rates import FRAME_RATE, HOP, SAMPLE_RATE, STARTUP_SAMPLES

CHUNK_FRAMES = (1, 6, 18, 75)  # 13.3, 80, 240 and 1,000 ms
STREAMS = (1, 4, 16)
WINDOW_S = 3.0
ROUNDS = 3  # of every round, the re-encoding is timed once and every chunk length STEPS times
STEPS = 10

OnProgress = Callable[[int, int], None]  # rounds done, rounds in all


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One chunk length with one number of streams in a batch. Times are for all streams together."""

    chunk_ms: float
    streams: int
    step_median_ms: float
    step_p95_ms: float
    real_time_factor: float  # median step / chunk: below 1 this machine keeps up with all streams
    reencode_median_ms: float  # the window of every stream through the encodec package, once
    reencode_real_time_factor: float  # the same with one window per chunk
    ratio: float  # how many times the median step the re-encoding takes


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All rows, by streams and then by chunk length, and what they were measured on."""

    torch_version: str
    machine: str
    threads: int
    window_s: float
    steps: int  # timed for each row
    rows: tuple[BenchRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure(
    threads: int = 1,
    repeats: int = ROUNDS,
    on_progress: OnProgress | None = None,
    *,
    chunk_frames: Sequence[int] = CHUNK_FRAMES,
    streams: Sequence[int] = STREAMS,
    window_s: float = WINDOW_S,
) -> BenchReport:
    """Times every chunk length with every number of streams on the CPU. About a minute with the defaults.

    Args:
        threads: for torch; what was set before is set again in the end.
        repeats: rounds; each times the re-encoding once and ten steps of every chunk length.
        on_progress: told the rounds done and the rounds in all, from 0 on.
        chunk_frames: chunk lengths in frames of 13.3 ms.
        streams: batch sizes.
        window_s: what is encoded anew for comparison.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rows: list[BenchRow] = []
    try:
        for place, batch_size in enumerate(streams):
            told = _Told(on_progress, done=place * repeats, total=len(streams) * repeats)
            rows += _measure_batch(batch_size, chunk_frames, round(window_s * SAMPLE_RATE), repeats, told)
    finally:
        torch.set_num_threads(before)
    return BenchReport(
        torch_version=str(torch.__version__),
        machine=platform.processor() or platform.machine(),
        threads=threads,
        window_s=window_s,
        steps=repeats * STEPS,
        rows=tuple(rows),
    )


@dataclass
class _Told:
    """Counts rounds for `on_progress`."""

    on_progress: OnProgress | None
    done: int
    total: int

    def __call__(self, rounds: int) -> None:
        if self.on_progress:
            self.on_progress(self.done + rounds, self.total)


def _measure_batch(
    batch_size: int, chunk_frames: Sequence[int], window_samples: int, repeats: int, told: _Told
) -> list[BenchRow]:
    """The rows of one number of streams."""
    model = _encodec_model()
    reencode = partial(_reencode, model, _noise(batch_size, window_samples))
    encoders = {frames: _started(StreamingEncoder.from_encodec(model, batch_size)) for frames in chunk_frames}
    chunks = {frames: _noise(batch_size, frames * HOP) for frames in chunk_frames}
    step_ms: dict[int, list[float]] = {frames: [] for frames in chunk_frames}
    window_ms: list[float] = []
    calls = {frames: partial(encoders[frames].step, chunks[frames]) for frames in chunk_frames}
    warm_ups: list[Callable[[], object]] = [reencode, *calls.values()]
    for call in warm_ups:
        call()  # the first call of a shape is slower
    for done in range(repeats):
        told(done)
        window_ms.append(_time_ms(reencode))
        for frames, step in calls.items():
            step_ms[frames] += [_time_ms(step) for _ in range(STEPS)]
    told(repeats)
    return [_row(frames, batch_size, step_ms[frames], window_ms) for frames in chunk_frames]


def _row(frames: int, streams: int, step_ms: list[float], window_ms: list[float]) -> BenchRow:
    chunk_ms = 1000 * frames / FRAME_RATE
    step, reencode = median(step_ms), median(window_ms)
    return BenchRow(
        chunk_ms=chunk_ms,
        streams=streams,
        step_median_ms=step,
        step_p95_ms=sorted(step_ms)[ceil(0.95 * len(step_ms)) - 1],  # nearest rank
        real_time_factor=step / chunk_ms,
        reencode_median_ms=reencode,
        reencode_real_time_factor=reencode / chunk_ms,
        ratio=reencode / step,
    )


def _time_ms(call: Callable[[], object]) -> float:
    """The wall time of one call in milliseconds."""
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


@torch.inference_mode()
def _reencode(model: Any, windows: Tensor) -> None:
    """`windows: [B, 1, T]` one after the other: as a batch they take longer, being too large for the caches."""
    for window in torch.split(windows, 1):
        model.encoder(window)


def _encodec_model() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.*is deprecated", category=FutureWarning)
        return import_encodec().EncodecModel.encodec_model_24khz(pretrained=False)


def _started(encoder: StreamingEncoder) -> StreamingEncoder:
    encoder.step(_noise(encoder.batch_size, STARTUP_SAMPLES))
    return encoder


def _noise(batch_size: int, samples: int) -> Tensor:
    return 0.1 * torch.randn(batch_size, 1, samples)
