"""Stand-ins at the worker's edges: a source fed by hand, an inference with given answers, a sink that records."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Unpack

import numpy as np

from streamer.audio.ring import RingBuffer
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES
from streamer.events import Event, Status
from streamer.feed.board import Board
from streamer.feed.snapshot import StreamDetails
from streamer.pipeline.windows import WindowResult
from streamer.sources.source import SourceState, SourceStatus


@dataclass
class FakeSource:
    """Feeds its ring from the test."""

    name: str = "desk"
    realtime: bool = True
    capacity: int = 200_000
    state: SourceState = "live"
    overflow_events: int = 0
    device: str = "fake device"

    def __post_init__(self) -> None:
        self.ring = RingBuffer(self.capacity)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def mute(self, muted: bool) -> None:
        self.state = "muted" if muted else "live"

    def status(self) -> SourceStatus:
        return SourceStatus(self.state, "", self.device, 48_000.0, 47_999.0, self.overflow_events)


@dataclass
class FakeInference:
    """Counts frames as the real one does; `answer` gives the probabilities for the window that ends at a sample."""

    rows: int = 1
    hop_frames: int = 18
    window_frames: int = 36
    answer: Callable[[int, int], tuple[float, ...] | None] = lambda row, end: (0.2, 0.8)
    steps: list[dict[int, int]] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)  # rows whose history was
    offsets: dict[int, tuple[float, ...] | None] = field(default_factory=dict)
    with_embedding: set[int] = field(default_factory=set)
    configured: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.samples = dict.fromkeys(range(self.rows), 0)

    def add(self) -> int:
        row = next(row for row in range(len(self.samples) + 1) if row not in self.samples)
        self.samples[row] = 0
        return row

    def remove(self, row: int) -> None:
        del self.samples[row]

    def configure(self, vad_threshold: float, min_speech: float) -> None:
        self.configured.append((vad_threshold, min_speech))

    def set_profile_offset(self, row: int, offset: tuple[float, ...] | None) -> None:
        self.offsets[row] = offset

    def include_embedding(self, row: int, enabled: bool) -> None:
        (self.with_embedding.add if enabled else self.with_embedding.discard)(row)

    def reset(self, row: int) -> None:
        self.resets.append(row)
        self.samples[row] = 0

    def warm_up(self, most_hops: int = 1) -> None: ...

    def release_weights(self) -> None: ...

    def forget_history(self, row: int) -> None:
        self.forgotten.append(row)

    caught_up = False

    def step(self, audio: Mapping[int, np.ndarray], *, newest_only: Collection[int] = ()) -> list[WindowResult]:
        self.steps.append({row: len(samples) for row, samples in audio.items()})
        results = []
        hop = self.hop_frames * FRAME_SAMPLES
        for row, samples in audio.items():
            before = self.samples[row]
            self.samples[row] += len(samples)
            ends = [e for e in range(hop, self.samples[row] + 1, hop) if e > before]
            wanted = ends[-1:] if row in newest_only else ends
            results += [self._result(row, end, len(ends) - len(wanted)) for end in wanted]
        return results

    def flush(self, row: int) -> WindowResult | None:
        left = self.samples[row] % (self.hop_frames * FRAME_SAMPLES)
        return self._result(row, self.samples[row], 0) if left else None

    def _result(self, row: int, end: int, skipped: int) -> WindowResult:
        frames = min(-(-end // FRAME_SAMPLES), self.window_frames)
        probs = self.answer(row, end)
        embedding = (float(row + 1),) * EMBEDDING_DIM if row in self.with_embedding else None
        speech = 1.0 if probs else 0.0
        attention = (1 / frames,) * frames
        return WindowResult(row, end, frames, probs, attention, speech, skipped, embedding, rested=probs is None)


@dataclass
class FakeSink:
    """A board, and lists of what is published."""

    board: Board
    events: list[Event] = field(default_factory=list)
    rosters: list[tuple[str, ...]] = field(default_factory=list)
    meters: bool = True

    def event(self, event: Event) -> None:
        self.board.event(event)
        self.events.append(event)

    def status(self, stream: str, status: Status, detail: str, device: str) -> None:
        self.board.status(stream, status, detail, device)

    def update(self, stream: str, **details: Unpack[StreamDetails]) -> None:
        self.board.update(stream, **details)

    def note(self, stream: str | None, text: str) -> None:
        self.board.log("note", text, stream)

    def stream_removed(self, stream: str) -> None:
        self.board.forget(stream)

    def roster_changed(self, streams: tuple[str, ...]) -> None:
        self.rosters.append(streams)


@dataclass
class FakeClock:
    """Moves when the test says so."""

    now: float = 1_000.0
    epoch: float = 0.0  # the wall clock's lead over the monotonic one

    def time(self) -> float:
        return self.now + self.epoch

    def monotonic(self) -> float:
        return self.now
