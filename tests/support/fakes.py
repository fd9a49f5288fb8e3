"""Stand-ins at the worker's edges: a source that is fed by hand, an inference that says what it is told."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from streamer.audio.ring import RingBuffer
from streamer.audio.source import SourceState, SourceStatus
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES
from streamer.pipeline.inference import WindowResult


@dataclass
class FakeSource:
    """Feeds its ring from the test."""

    name: str = "desk"
    realtime: bool = True
    capacity: int = 200_000
    state: SourceState = "live"
    overflow_events: int = 0

    def __post_init__(self) -> None:
        self.ring = RingBuffer(self.capacity)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def mute(self, muted: bool) -> None:
        self.state = "muted" if muted else "live"

    def status(self) -> SourceStatus:
        return SourceStatus(self.state, "", "fake device", 48_000.0, 47_999.0, self.overflow_events)


@dataclass
class FakeInference:
    """Counts frames as the real one does; `answer` gives the probabilities for the window that ends at a sample."""

    rows: int = 1
    hop_frames: int = 18
    window_frames: int = 36
    answer: Callable[[int, int], tuple[float, ...] | None] = lambda row, end: (0.2, 0.8)
    steps: list[dict[int, int]] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    shifts: dict[int, tuple[float, ...] | None] = field(default_factory=dict)
    revealed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.samples = dict.fromkeys(range(self.rows), 0)

    def add(self) -> int:
        row = next(row for row in range(len(self.samples) + 1) if row not in self.samples)
        self.samples[row] = 0
        return row

    def remove(self, row: int) -> None:
        del self.samples[row]

    def set_profile_offset(self, row: int, by: tuple[float, ...] | None) -> None:
        self.shifts[row] = by

    def include_embedding(self, row: int, wanted: bool) -> None:
        (self.revealed.add if wanted else self.revealed.discard)(row)

    def reset(self, row: int) -> None:
        self.resets.append(row)
        self.samples[row] = 0

    def step(self, audio: Mapping[int, np.ndarray], *, newest_only: Collection[int] = ()) -> list[WindowResult]:
        self.steps.append({row: len(samples) for row, samples in audio.items()})
        heard = []
        hop = self.hop_frames * FRAME_SAMPLES
        for row, samples in audio.items():
            before = self.samples[row]
            self.samples[row] += len(samples)
            ends = [e for e in range(hop, self.samples[row] + 1, hop) if e > before]
            wanted = ends[-1:] if row in newest_only else ends
            heard += [self._heard(row, end, len(ends) - len(wanted)) for end in wanted]
        return heard

    def flush(self, row: int) -> WindowResult | None:
        left = self.samples[row] % (self.hop_frames * FRAME_SAMPLES)
        return self._heard(row, self.samples[row], 0) if left else None

    def _heard(self, row: int, end: int, skipped: int) -> WindowResult:
        frames = min(-(-end // FRAME_SAMPLES), self.window_frames)
        probs = self.answer(row, end)
        embedding = (float(row + 1),) * EMBEDDING_DIM if row in self.revealed else None
        return WindowResult(row, end, frames, probs, (1 / frames,) * frames, 1.0 if probs else 0.0, skipped, embedding)


@dataclass
class FakeClock:
    """Moves when the test says so."""

    now: float = 1_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now
