"""The results of an evaluation. Their field names are the keys of `evaluation.json`."""

from dataclasses import dataclass, field

from streamer.evaluation.baselines import BaselineResult
from streamer.evaluation.false_alarms import FalseAlarms
from streamer.evaluation.precision import PrecisionEffect
from streamer.evaluation.protocol import Protocol
from streamer.evaluation.robustness import Robustness
from streamer.evaluation.streams import ConditionFigures, NaturalFigures, StreamFigures
from streamer.evaluation.through_worker import WorkerResult
from streamer.evaluation.voice_profiles import VoiceProfileEffect
from streamer.training.metrics import Measures


@dataclass(frozen=True)
class CorpusResult:
    """Figures of one corpus. Predictions are restricted to its labels."""

    name: str
    labels: tuple[str, ...]
    speakers: tuple[str, ...]  # whose whole clips were tested
    clips: Measures  # whole clips
    peers: dict[str, BaselineResult] = field(default_factory=dict)  # baselines on the same clips
    streams: StreamFigures | None = None  # of test speakers whose emotion changes, from the worker
    speaker_change: StreamFigures | None = None  # the same streams, each after another speaker's
    conditions: dict[str, ConditionFigures] = field(default_factory=dict)  # the same streams, changed
    live: WorkerResult | None = None  # windows of test speakers, from the worker
    calibrated: VoiceProfileEffect | None = None  # test speakers, with voice profiles


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, and on what."""

    checkpoint: str
    model: str  # the card's name
    sha256: str
    protocol: Protocol
    also: tuple[str, ...]  # the cards' names of further checkpoints that were tested on whole clips
    seed: int
    window_s: float
    temperature: float
    threshold: float
    corpora: tuple[CorpusResult, ...]
    natural: dict[str, NaturalFigures] = field(default_factory=dict)
    foreign: dict[str, StreamFigures] = field(default_factory=dict)  # four emotions each
    robustness: Robustness | None = None
    false_alarms: dict[str, FalseAlarms] = field(default_factory=dict)
    precisions: dict[str, PrecisionEffect] = field(default_factory=dict)
