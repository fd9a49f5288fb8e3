"""Time a step of the streaming encoder on this machine's CPU, beside the other engines that are installed.

All engines are timed in turns in one run, so that other load on the machine affects all alike. The weights are random
numbers that float16 holds, like those of the shipped checkpoints.
"""

import platform
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from streamer.bench.engines import Call, Engines, find_engines
from streamer.bench.figures import percentile
from streamer.bench.timing import cpu_threads, matrix_gflops, time_ms
from streamer.codec import Encoder, StreamingEncoder
from streamer.codec.cpu.pack import supported
from streamer.codec.precision import PRECISIONS, Precision
from streamer.constants import FRAME_RATE, FRAME_SAMPLES, SAMPLE_RATE, STARTUP_SAMPLES

CHUNK_FRAMES = (1, 6, 18, 75)  # 13.3, 80, 240 and 1,000 ms
STREAMS = (1, 4, 16)
WINDOW_S = 3.0
ROUNDS = 3  # in each, every window is encoded once and every engine runs STEPS steps of every chunk length
STEPS = 10
WARM_UPS = 3  # untimed steps before those, which bring an engine's own weights back into the caches

OnProgress = Callable[[int, int], None]  # rounds done, rounds in all


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What to time. About three minutes with the defaults."""

    threads: int = 1  # of the CPU, for every engine
    rounds: int = ROUNDS
    chunk_frames: tuple[int, ...] = CHUNK_FRAMES  # chunk lengths in frames of 13.3 ms
    streams: tuple[int, ...] = STREAMS  # batch sizes
    window_s: float = WINDOW_S  # re-encoded by engines that do not stream
    precisions: tuple[Precision, ...] | None = None  # of our engine beside float32; None: all that this CPU speeds up


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One engine at one chunk length with one number of streams. A time is for all streams together."""

    chunk_ms: float
    streams: int
    engine: str  # "streamer float32", "streamer int8", …, or another engine's name
    median_ms: float  # of a step, or of re-encoding every stream's window
    p95_ms: float
    real_time_factor: float  # median / chunk: below 1, this machine keeps up with all streams
    ratio: float  # median / that of "streamer float32" in the same run


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All rows, by streams, chunk length and engine, and the conditions of the run."""

    torch_version: str
    machine: str
    threads: int
    window_s: float
    steps: int  # timed for each row of an engine that runs in steps
    gflops: float  # of a float32 matrix product in the same run, to compare machines by
    rows: tuple[BenchRow, ...]
    missing: tuple[str, ...]  # a line for each engine that is not installed


def measure_steps(plan: StepPlan, on_progress: OnProgress | None = None, engines: Engines | None = None) -> BenchReport:
    """Time every engine at every chunk length with every number of streams.

    Args:
        plan: what to time.
        on_progress: called with the rounds done and the rounds in all, from 0 on.
        engines: the other engines; by default all that are installed.
    """
    engines = find_engines() if engines is None else engines
    rounds = len(plan.streams) * plan.rounds
    rows: list[BenchRow] = []
    with cpu_threads(plan.threads):
        gflops = matrix_gflops(torch.device("cpu"))
        for place, batch_size in enumerate(plan.streams):
            turns = _Turns(batch_size, plan, engines)
            for done in range(plan.rounds):
                _report(on_progress, place * plan.rounds + done, rounds)
                turns.take()
            rows += turns.rows()
        _report(on_progress, rounds, rounds)
    return BenchReport(
        torch_version=str(torch.__version__),
        machine=platform.processor() or platform.machine(),
        threads=plan.threads,
        window_s=plan.window_s,
        steps=plan.rounds * STEPS,
        gflops=gflops,
        rows=tuple(rows),
        missing=engines.missing,
    )


class _Turns:
    """All engines with one number of streams, and their times so far."""

    def __init__(self, batch_size: int, plan: StepPlan, engines: Engines) -> None:
        self._batch_size = batch_size
        encoder = Encoder().half().float().eval().requires_grad_(False)
        windows = _noise(batch_size, round(plan.window_s * SAMPLE_RATE))
        self._windows = {engine.name: engine.make(windows) for engine in engines.windows}
        self._steps: dict[tuple[int, str], Call] = {}  # by frames and engine
        others = plan.precisions if plan.precisions is not None else [p for p in PRECISIONS if supported(p)]
        streamings = {_name(p): _start_streams(encoder, p, batch_size) for p in dict.fromkeys(("float32", *others))}
        for frames in plan.chunk_frames:
            chunks = _noise(batch_size, frames * FRAME_SAMPLES)
            self._steps |= {(frames, name): partial(own.step, chunks) for name, own in streamings.items()}
            self._steps |= {(frames, one.name): one.make(encoder, chunks, plan.threads) for one in engines.steps}
        self._window_ms: dict[str, list[float]] = {name: [] for name in self._windows}
        self._step_ms: dict[tuple[int, str], list[float]] = {key: [] for key in self._steps}
        for call in (*self._windows.values(), *self._steps.values()):
            call()  # the first call of a shape is slower

    def take(self) -> None:
        """Run one round of every engine."""
        for name, encode in self._windows.items():
            self._window_ms[name].append(time_ms(encode))
        for key, step in self._steps.items():
            for _ in range(WARM_UPS):
                step()
            self._step_ms[key] += [time_ms(step) for _ in range(STEPS)]

    def rows(self) -> list[BenchRow]:
        """Return the rows by chunk length: our float32 engine, our other precisions, other steps, then windows."""
        rows = []
        for frames in dict.fromkeys(frames for frames, _ in self._steps):
            times = {name: ms for (own, name), ms in self._step_ms.items() if own == frames} | self._window_ms
            ours = median(times[_name("float32")])
            rows += [self._row(frames, name, ms, ours) for name, ms in times.items()]
        return rows

    def _row(self, frames: int, engine: str, times_ms: Sequence[float], ours_ms: float) -> BenchRow:
        chunk_ms = 1000 * frames / FRAME_RATE
        middle = median(times_ms)
        return BenchRow(
            chunk_ms=chunk_ms,
            streams=self._batch_size,
            engine=engine,
            median_ms=middle,
            p95_ms=percentile(times_ms, 0.95),
            real_time_factor=middle / chunk_ms,
            ratio=middle / ours_ms,
        )


def _name(precision: str) -> str:
    return f"streamer {precision}"


def _start_streams(encoder: Encoder, precision: Precision, batch_size: int) -> StreamingEncoder:
    """Run an encoder past its start-up, after which a chunk of F frames yields F frames."""
    encoder = deepcopy(encoder)
    encoder.precision = precision
    streaming = StreamingEncoder(encoder, batch_size)
    streaming.step(_noise(batch_size, STARTUP_SAMPLES))
    return streaming


def _noise(batch_size: int, samples: int) -> Tensor:
    return 0.1 * torch.randn(batch_size, 1, samples)


def _report(on_progress: OnProgress | None, done: int, total: int) -> None:
    if on_progress:
        on_progress(done, total)
