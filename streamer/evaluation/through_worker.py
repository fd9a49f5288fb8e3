"""What users get: recordings through the program's own worker, hop by hop, and every window compared with offline.

Each clip is heard in a quiet room by a monitor that was on before: faint noise for one window's length, the clip, and a
second of the same noise. So no window is warming, and windows hold part of the clip as well as all of it.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamer.arrays import Float64Array, Samples
from streamer.audio.ring import RingBuffer
from streamer.audio.source import SourceStatus
from streamer.config import ModelConfig, Settings, WindowConfig
from streamer.constants import FRAME_RATE, SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import colored_noise, gain, generator
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import CheckpointCard
from streamer.emotion.labels import LABELS
from streamer.events import EmotionStarted, Event, Info, Window
from streamer.feed.board import Board
from streamer.pipeline.build import build_inference, stream_settings
from streamer.pipeline.worker import Worker
from streamer.progress import Progress
from streamer.training.losses import label_mask
from streamer.training.metrics import Measures, measure

ROWS = 8  # streams that the worker hears at once
_ROOM_DBFS = -75.0  # of the quiet room
_AFTER_S = 1.0


@dataclass(frozen=True)
class LiveResult:
    """Clips streamed one by one."""

    clips: int
    windows: Measures  # those with enough voice to be classified, answers among the corpus's labels
    same_as_offline: float  # share of them that get the same label from the offline model
    claimed: float  # share for which the worker names an emotion, all labels offered
    right_claims: float  # share of those that are right; NaN without any
    started: float  # share of clips during which an emotion begins
    right_starts: float  # share of the emotions that begin which are right; NaN without any


class _Recorded:
    """A source whose whole sound lies in its ring already."""

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


class Monitored:
    """A checkpoint in the worker with the program's default settings, at the card's window and hop.

    Args:
        checkpoint: `bundled`, `measured` or a path.
        card: of the same checkpoint.
        device: auto, cpu, cuda or mps.
        threads: of the CPU; torch's number if None.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """

    def __init__(self, checkpoint: str, card: CheckpointCard, device: str = "cpu", threads: int | None = None) -> None:
        chosen = ModelConfig(checkpoint=checkpoint, device=device, threads=threads or torch.get_num_threads())
        window = WindowConfig(window_s=card.window_s, hop_s=card.hop_s)
        self.window_s = window.window_s
        settings = Settings(model=chosen, window=window)
        self._inference = build_inference(settings, rows=ROWS)
        for row in range(ROWS):
            self._inference.remove(row)
        self._streams = stream_settings(settings, self._inference.model)

    @property
    def model(self) -> EmotionDetectionModel:
        """The model that the worker runs."""
        return self._inference.model

    def hear(self, recordings: Sequence[Samples]) -> list[list[Event]]:
        """What the worker says of recordings `[T]`, T >= 1, each a stream of its own, up to ROWS of them at once."""
        if len(recordings) > ROWS:
            raise ValueError(f"The worker here has {ROWS} rows, not {len(recordings)}.")
        said: dict[str, list[Event]] = {str(row): [] for row in range(len(recordings))}

        def take(event: Event) -> None:
            if not isinstance(event, Info):  # it is of no stream
                said[event.stream].append(event)

        for _ in recordings:
            self._inference.add()  # rows from 0 on: the worker gives back the row of every source that ended
        Worker(
            self._inference,
            [_Recorded(str(row), samples, self._streams.hop_samples) for row, samples in enumerate(recordings)],
            self._streams,
            board=Board(list(said)),
            outlet=take,
            wake=threading.Event(),
        ).run()
        return list(said.values())


def in_a_quiet_room(samples: Samples, before_s: float, rng: np.random.Generator) -> Samples:
    """A clip with faint noise under it, `before_s` in front of it and a second behind it."""
    before, after = round(before_s * SAMPLE_RATE), round(_AFTER_S * SAMPLE_RATE)
    noise = gain(colored_noise(before + len(samples) + after, "pink", rng), _ROOM_DBFS)
    noise[before : before + len(samples)] += samples
    return noise


def stream_clips(
    monitored: Monitored,
    audio: AudioStore,
    corpus: Corpus,
    clips: Sequence[Clip],
    threshold: float,
    seed: int,
    progress: Progress[Any],
) -> LiveResult | None:
    """Every clip as a stream of its own through the worker; None where no window holds enough voice.

    Args:
        monitored: the checkpoint in its worker.
        audio: the clips' recordings.
        corpus: of the clips.
        clips: at least one.
        threshold: from which probability on an answer among the corpus's labels counts as given.
        seed: of the room's noise and of the interval's draws.
        progress: shows how far it is.
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
        rooms = [in_a_quiet_room(audio[clip.key], monitored.window_s, generator(seed, 0, clip.key)) for clip in some]
        for clip, room, events in zip(some, rooms, monitored.hear(rooms), strict=True):
            windows = [event for event in events if isinstance(event, Window) and event.probs is not None]
            heard = np.array([[(window.probs or {})[label] for label in LABELS] for window in windows])  # [K, 8]
            if windows:
                same += (heard.argmax(axis=1) == offline_labels(monitored.model, room, windows)).tolist()
                probs.append(_among(heard, mask))
            of_windows += [clip] * len(windows)
            claims += [window.label == clip.label for window in windows if window.label is not None]
            begun = [event.label == clip.label for event in events if isinstance(event, EmotionStarted)]
            starts += begun
            clips_started += bool(begun)
    if not of_windows:
        return None
    answers = np.array([LABELS.index(clip.label) for clip in of_windows], dtype=np.int64)
    speakers = [clip.speaker for clip in of_windows]
    return LiveResult(
        clips=len(clips),
        windows=measure(np.concatenate(probs), answers, speakers, corpus.labels, threshold, seed),
        same_as_offline=float(np.mean(same)),
        claimed=len(claims) / len(of_windows),
        right_claims=float(np.mean(claims)) if claims else float("nan"),
        started=clips_started / len(clips),
        right_starts=float(np.mean(starts)) if starts else float("nan"),
    )


def offline_labels(model: EmotionDetectionModel, samples: Samples, windows: Sequence[Window]) -> npt.NDArray[np.int64]:
    """`[K]` the columns that the offline model gives to the frames of K windows of one recording, encoded as a whole."""
    with torch.inference_mode():
        frames = model.get_embeddings(torch.from_numpy(samples)[None, None])  # [1, 128, F]
        places = torch.arange(frames.shape[2], device=frames.device)
        # The newest frame of the last window may be a part of one: it ends after the window does.
        bounds = [
            (round(window.start_s * FRAME_RATE), math.ceil(window.end_s * FRAME_RATE - 1e-6)) for window in windows
        ]
        real = torch.stack([(places >= start) & (places < end) for start, end in bounds])  # [K, F]
        pooled, _ = model.pooling(frames.expand(len(windows), -1, -1), real)
        columns: npt.NDArray[np.int64] = model.classify(pooled).argmax(dim=1).cpu().numpy()
        return columns


def _among(probs: Float64Array, mask: npt.NDArray[np.bool_]) -> Float64Array:
    """Probabilities `[K, 8]` given that the label is one of the corpus's."""
    kept = np.where(mask, probs, 0.0)
    shares: Float64Array = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-12)
    return shares
