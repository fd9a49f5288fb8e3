"""What a streaming step costs on this machine's CPU, beside everything else that does the same work here.

All are timed in turns in one run, so that whatever else the machine does falls on all alike. The weights are random:
they do not change the time.
"""

import platform
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from streamer.bench.engines import Call, Peers, installed
from streamer.bench.timing import cpu_threads, matrix_gflops, nearest_rank, time_ms
from streamer.codec import Encoder, StreamingEncoder
from streamer.codec.cpu.pack import PRECISIONS, Precision, supported
from streamer.constants import FRAME_RATE, FRAME_SAMPLES, SAMPLE_RATE, STARTUP_SAMPLES

CHUNK_FRAMES = (1, 6, 18, 75)  # 13.3, 80, 240 and 1,000 ms
STREAMS = (1, 4, 16)
WINDOW_S = 3.0
ROUNDS = 3  # in each, every window is encoded once and every engine takes STEPS steps of every chunk length
STEPS = 10
WARM_UPS = 3  # steps before those, which bring an engine's own weights back into the caches

OnProgress = Callable[[int, int], None]  # rounds done, rounds in all


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One engine at one chunk length with one number of streams. Times are for all streams together."""

    chunk_ms: float
    streams: int
    engine: str  # "streamer float32", "streamer int8", …, or a peer's name
    median_ms: float  # of a step; of encoding every stream's window, where the engine does that
    p95_ms: float
    real_time_factor: float  # median / chunk: below 1 this machine keeps up with all streams
    ratio: float  # median / that of "streamer float32" in the same run


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All rows, by streams, chunk length and engine, and what they were measured on."""

    torch_version: str
    machine: str
    threads: int
    window_s: float
    steps: int  # timed for each row of an engine that takes steps
    gflops: float  # of a float32 matrix product in the same run, to compare machines by
    rows: tuple[BenchRow, ...]
    missing: tuple[str, ...]  # a line for each peer that is not installed

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
    precisions: Sequence[Precision] | None = None,
    peers: Peers | None = None,
) -> BenchReport:
    """Times every engine at every chunk length with every number of streams. About two minutes with the defaults.

    Args:
        threads: for torch and its peers; what was set before is set again in the end.
        repeats: rounds; each encodes every window once and takes ten steps of every engine and chunk length.
        on_progress: told the rounds done and the rounds in all, from 0 on.
        chunk_frames: chunk lengths in frames of 13.3 ms.
        streams: batch sizes.
        window_s: what is encoded anew by peers that do not stream.
        precisions: of our own engine beside float32; by default all that this processor gains from.
        peers: by default all that are installed.
    """
    peers = installed() if peers is None else peers
    others = precisions if precisions is not None else [p for p in PRECISIONS if supported(p)]
    rows: list[BenchRow] = []
    with cpu_threads(threads):
        gflops = matrix_gflops(torch.device("cpu"))
        for place, batch_size in enumerate(streams):
            turns = _Turns(batch_size, round(window_s * SAMPLE_RATE), chunk_frames, others, peers, threads)
            for done in range(repeats):
                _tell(on_progress, place * repeats + done, len(streams) * repeats)
                turns.take()
            rows += turns.rows()
        _tell(on_progress, len(streams) * repeats, len(streams) * repeats)
    return BenchReport(
        torch_version=str(torch.__version__),
        machine=platform.processor() or platform.machine(),
        threads=threads,
        window_s=window_s,
        steps=repeats * STEPS,
        gflops=gflops,
        rows=tuple(rows),
        missing=peers.missing,
    )


class _Turns:
    """All engines with one number of streams, and the times they took so far."""

    def __init__(
        self,
        batch_size: int,
        window_samples: int,
        chunk_frames: Sequence[int],
        precisions: Sequence[Precision],
        peers: Peers,
        threads: int,
    ) -> None:
        self._batch_size = batch_size
        encoder = Encoder().eval().requires_grad_(False)
        windows = _noise(batch_size, window_samples)
        self._windows = {peer.name: peer.make(windows) for peer in peers.windows}
        self._steps: dict[tuple[int, str], Call] = {}  # by frames and engine
        streamings = {_name(p): _started(encoder, p, batch_size) for p in dict.fromkeys(("float32", *precisions))}
        for frames in chunk_frames:
            chunks = _noise(batch_size, frames * FRAME_SAMPLES)
            self._steps |= {(frames, name): partial(own.step, chunks) for name, own in streamings.items()}
            self._steps |= {(frames, peer.name): peer.make(encoder, chunks, threads) for peer in peers.steps}
        self._window_ms: dict[str, list[float]] = {name: [] for name in self._windows}
        self._step_ms: dict[tuple[int, str], list[float]] = {key: [] for key in self._steps}
        for call in (*self._windows.values(), *self._steps.values()):
            call()  # the first call of a shape is slower

    def take(self) -> None:
        """One turn for everyone."""
        for name, encode in self._windows.items():
            self._window_ms[name].append(time_ms(encode))
        for key, step in self._steps.items():
            for _ in range(WARM_UPS):
                step()
            self._step_ms[key] += [time_ms(step) for _ in range(STEPS)]

    def rows(self) -> list[BenchRow]:
        """By chunk length; our float32 engine first, then our others, then those that step, then windows."""
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
            p95_ms=nearest_rank(times_ms, 0.95),
            real_time_factor=middle / chunk_ms,
            ratio=middle / ours_ms,
        )


def _name(precision: str) -> str:
    return f"streamer {precision}"


def _started(encoder: Encoder, precision: Precision, batch_size: int) -> StreamingEncoder:
    """Past its first frames, from when on every chunk gives as many frames as it is long."""
    encoder = deepcopy(encoder)
    encoder.precision = precision
    streaming = StreamingEncoder(encoder, batch_size)
    streaming.step(_noise(batch_size, STARTUP_SAMPLES))
    return streaming


def _noise(batch_size: int, samples: int) -> Tensor:
    return 0.1 * torch.randn(batch_size, 1, samples)


def _tell(on_progress: OnProgress | None, done: int, total: int) -> None:
    if on_progress:
        on_progress(done, total)
