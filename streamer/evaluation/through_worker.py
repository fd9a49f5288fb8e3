"""Evaluate through the real worker, hop by hop, and compare each window with offline inference.

Each clip is placed in a quiet room: faint noise for one window's length, the clip, and a second of the same noise. So
no window of the clip is warming, and windows hold part of the clip as well as all of it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.arrays import Float64Array, Samples
from streamer.audio.ring import RingBuffer
from streamer.constants import DEFAULT_HOP_S, FRAME_RATE, SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import colored_noise, gain, generator
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import CheckpointCard
from streamer.emotion.labels import LABELS
from streamer.emotion.stream_classifier import StreamClassifier
from streamer.events import EmotionStarted, Event, Info, Window
from streamer.pipeline.build import build_inference, stream_settings
from streamer.pipeline.sink import EventSink
from streamer.pipeline.worker import Worker
from streamer.progress import Progress
from streamer.settings import ModelConfig, Settings, VoiceConfig, WindowConfig
from streamer.sources.source import SourceStatus
from streamer.training.losses import label_mask
from streamer.training.metrics import Measures, measure

ROWS = 8  # streams that the worker runs at once
_ROOM_DBFS = -75.0  # of the noise of the quiet room
_AFTER_S = 1.0  # of noise behind the clip


@dataclass(frozen=True)
class WorkerResult:
    """Figures of clips that were streamed one by one."""

    clips: int
    windows: Measures  # those with enough speech to be classified; predictions among the corpus's labels
    same_as_offline: float  # share of them with the same label as from offline inference
    claimed: float  # share for which the worker claims an emotion, out of all labels
    right_claims: float  # share of the claims that are right; NaN without any
    started: float  # share of clips during which an emotion begins
    right_starts: float  # share of the emotions that begin which are right; NaN without any


class _Recording:
    """A source whose whole audio is already in its ring."""

    realtime = False

    def __init__(self, name: str, samples: Samples, hop: int) -> None:
        self.name = name
        self.ring = RingBuffer(max(len(samples), hop))  # the worker reads by the hop
        self.ring.write(samples)
        self.ring.end()

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def mute(self, muted: bool) -> None: ...

    def status(self) -> SourceStatus:
        return SourceStatus("ended", "", self.name, SAMPLE_RATE, None, 0)


class WorkerHarness:
    """Runs a checkpoint in the worker with the program's default settings, at the card's window and hop.

    Args:
        checkpoint: `bundled`, `measured` or a path.
        card: of the same checkpoint.
        device: auto, cpu, cuda or mps.
        threads: of the CPU; None: torch's number.
        gated: whether windows need speech to be classified, as in the program; False: every one is.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """

    def __init__(
        self,
        checkpoint: str,
        card: CheckpointCard,
        device: str = "cpu",
        threads: int | None = None,
        *,
        gated: bool = True,
    ) -> None:
        chosen = ModelConfig(checkpoint=checkpoint, device=device, threads=threads or torch.get_num_threads())
        window = WindowConfig(window_s=card.window_s, hop_s=card.hop_s)
        self.window_s = window.window_s
        voice = VoiceConfig() if gated else VoiceConfig(min_speech=0.0)
        settings = Settings(model=chosen, window=window, voice=voice)
        self._inference = build_inference(settings, rows=ROWS)
        for row in range(ROWS):
            self._inference.remove(row)
        self._streams = stream_settings(settings, self._inference.model)

    @property
    def model(self) -> EmotionDetectionModel:
        """The model that the worker runs."""
        return self._inference.model

    def run(self, recordings: Sequence[Samples]) -> list[list[Event]]:
        """Return the worker's events for up to ROWS recordings `[T]`, T >= 1, each a stream of its own."""
        if len(recordings) > ROWS:
            raise ValueError(f"The worker here has {ROWS} rows, not {len(recordings)}.")
        events: dict[str, list[Event]] = {str(row): [] for row in range(len(recordings))}

        def take(event: Event) -> None:
            if not isinstance(event, Info):  # it belongs to no stream
                events[event.stream].append(event)

        for _ in recordings:
            self._inference.add()  # rows from 0 on: the worker releases the row of every source that has ended
        Worker(
            self._inference,
            [_Recording(str(row), samples, self._streams.hop_samples) for row, samples in enumerate(recordings)],
            self._streams,
            sink=EventSink(take),
        ).run()
        return list(events.values())


def add_quiet_room(samples: Samples, before_s: float, rng: np.random.Generator) -> Samples:
    """Add faint noise under a clip, for `before_s` in front of it and for a second behind it."""
    before, after = round(before_s * SAMPLE_RATE), round(_AFTER_S * SAMPLE_RATE)
    noise = gain(colored_noise(before + len(samples) + after, "pink", rng), _ROOM_DBFS)
    noise[before : before + len(samples)] += samples
    return noise


def stream_clips(
    harness: WorkerHarness,
    audio: AudioStore,
    corpus: Corpus,
    clips: Sequence[Clip],
    threshold: float,
    seed: int,
    progress: Progress[Any],
) -> WorkerResult | None:
    """Stream every clip on its own through the worker; return None if no window holds enough speech.

    Args:
        harness: the checkpoint in its worker.
        audio: the clips' recordings.
        corpus: that the clips belong to.
        clips: at least one.
        threshold: least probability, among the corpus's labels, for an answer to count.
        seed: of the room's noise and of the bootstrap interval.
        progress: shows the progress of a loop.
    """
    mask = label_mask(corpus.labels)
    probs: list[Float64Array] = []
    of_windows: list[Clip] = []
    same: list[bool] = []
    claims: list[bool] = []
    starts: list[bool] = []
    clips_started = 0
    for first in progress(range(0, len(clips), ROWS), f"streaming {corpus.name}"):
        some = clips[first : first + ROWS]
        rooms = [add_quiet_room(audio[clip.key], harness.window_s, generator(seed, 0, clip.key)) for clip in some]
        for clip, room, events in zip(some, rooms, harness.run(rooms), strict=True):
            windows = [event for event in events if isinstance(event, Window) and event.probs is not None]
            of_clip = np.array([[(window.probs or {})[label] for label in LABELS] for window in windows])  # [K, 8]
            if windows:
                same += (of_clip.argmax(axis=1) == offline_labels(harness.model, room, windows)).tolist()
                probs.append(_restrict(of_clip, mask))
            of_windows += [clip] * len(windows)
            claims += [window.label == clip.label for window in windows if window.label is not None]
            begun = [event.label == clip.label for event in events if isinstance(event, EmotionStarted)]
            starts += begun
            clips_started += bool(begun)
    if not of_windows:
        return None
    answers = np.array([LABELS.index(clip.label) for clip in of_windows], dtype=np.int64)
    speakers = [clip.speaker for clip in of_windows]
    return WorkerResult(
        clips=len(clips),
        windows=measure(np.concatenate(probs), answers, speakers, corpus.labels, threshold, seed),
        same_as_offline=float(np.mean(same)),
        claimed=len(claims) / len(of_windows),
        right_claims=float(np.mean(claims)) if claims else float("nan"),
        started=clips_started / len(clips),
        right_starts=float(np.mean(starts)) if starts else float("nan"),
    )


def offline_labels(model: EmotionDetectionModel, samples: Samples, windows: Sequence[Window]) -> npt.NDArray[np.int64]:
    """Return the label columns `[K]` of K windows of one recording, which is encoded as a whole."""
    with torch.inference_mode():
        frames = model.get_embeddings(torch.from_numpy(samples)[None, None])  # [1, 128, F]
        places = torch.arange(frames.shape[2], device=frames.device)
        # The newest frame of the last window may be partial: it ends after the window does.
        bounds = [
            (round(window.start_s * FRAME_RATE), math.ceil(window.end_s * FRAME_RATE - 1e-6)) for window in windows
        ]
        real = torch.stack([(places >= start) & (places < end) for start, end in bounds])  # [K, F]
        pooled, _ = model.pooling(frames.expand(len(windows), -1, -1), real)
        return np.array([int(logits.argmax()) for logits in _in_their_order(model, pooled, windows)], dtype=np.int64)


def _in_their_order(model: EmotionDetectionModel, pooled: Tensor, windows: Sequence[Window]) -> Iterator[Tensor]:
    """Yield the logits `[labels]` of K windows of one stream, `[K, 640]`, each by the history of those before it."""
    classifier = StreamClassifier(model, 1)
    hop_s = DEFAULT_HOP_S if model.card is None else model.card.hop_s
    for row, window in zip(pooled, windows, strict=True):
        logits, _ = classifier.classify(row[None], [0])
        yield logits[0]
        if not window.warming:
            classifier.remember([0], row[None], [hop_s])


def _restrict(probs: Float64Array, mask: npt.NDArray[np.bool_]) -> Float64Array:
    """Return probabilities `[K, 8]` conditioned on the label being one of the corpus's."""
    kept = np.where(mask, probs, 0.0)
    shares: Float64Array = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-12)
    return shares
