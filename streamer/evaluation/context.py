"""What the measurements of an evaluation share: models, data, options, the worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration, CheckpointCard
from streamer.evaluation.cross_validation import Folds
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.through_worker import WorkerHarness
from streamer.progress import Progress
from streamer.training.teacher import WhisperTeacher


@dataclass(frozen=True)
class Context:
    """Holds what the measurements share."""

    checkpoint: str
    models: tuple[EmotionDetectionModel, ...]  # the checkpoint, then those of --also
    card: CheckpointCard  # of the checkpoint
    corpora: tuple[Corpus, ...]
    split: Split
    folds: dict[str, list[Folds]]  # by corpus, of each model
    options: EvaluationOptions
    audio: AudioStore
    work: Path
    teacher: WhisperTeacher | None
    rng: np.random.Generator  # draws clips, in the order of the measurements
    progress: Progress[Any]

    @property
    def model(self) -> EmotionDetectionModel:
        """The checkpoint's model."""
        return self.models[0]

    @property
    def calibration(self) -> Calibration:
        """Temperature and threshold at the card's window."""
        return self.card.calibration_for(self.card.window_s)

    @cached_property
    def harness(self) -> WorkerHarness:
        """The checkpoint in the worker."""
        return WorkerHarness(self.checkpoint, self.card, self.options.device, self.options.threads)

    @cached_property
    def ungated_harness(self) -> WorkerHarness:
        """The checkpoint in a worker that classifies every window, whether somebody speaks or not."""
        options = self.options
        return WorkerHarness(self.checkpoint, self.card, options.device, options.threads, gated=False)

    def test_clips(self, *corpora: Corpus) -> list[Clip]:
        """Return the clips of the split's test speakers."""
        return [clip for corpus in corpora for clip in self.split.select(corpus.clips, "test")]

    def draw(self, clips: Sequence[Clip], count: int) -> list[Clip]:
        """Draw up to `count` clips; their order stays."""
        return [clips[place] for place in sorted(self.rng.permutation(len(clips))[:count])]
