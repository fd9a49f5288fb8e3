"""The options of `streamer evaluate`."""

from dataclasses import dataclass
from pathlib import Path

from streamer.corpora.splits import DEFAULT_SEED
from streamer.errors import UsageError
from streamer.evaluation.protocol import Protocol
from streamer.extras import require_sklearn


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """Holds what to measure, and how much of it; raises UsageError for impossible options."""

    protocol: Protocol = "holdout"  # for the tables of whole clips and for the baselines
    folds: int = 5  # under kfold
    also: tuple[Path, ...] = ()  # under kfold and loso: checkpoints to test the speakers that those before them know
    seed: int = DEFAULT_SEED  # of the split, unless one is given, and of every random draw
    split: Path | None = None  # a `split.json` or a checkpoint; None: drawn from the seed, known speakers pinned
    voices: bool = True  # measure the effect of voice profiles
    robustness_clips: int = 200  # drawn from the test clips of all corpora; 0 measures none
    streams: int = 2  # of each test speaker, through the worker; 0 measures none
    conditions: bool = False  # the same streams by telephone, in rooms, louder and quieter
    natural: tuple[Path, ...] = ()  # recordings of natural speech, or folders: every emotion in them is a false alarm
    foreign: tuple[Path, ...] = ()  # corpora that no model here was trained on, for streams of four emotions
    live_clips: int = 100  # of each corpus, through the worker; 0 measures none
    noise_minutes: float = 20.0  # of each kind of sound without speech; 0 measures none
    without_voice: tuple[Path, ...] = ()  # recordings without speech, or folders of them, for more false alarms
    peers: bool = True  # measure the baselines
    teacher: str | None = None  # file of the teacher, or its name on the hub: one more baseline
    precisions: bool = False  # of the encoder, on the CPU, over all whole clips of test speakers
    device: str = "cpu"
    threads: int | None = None  # of the CPU; None: torch's choice

    def __post_init__(self) -> None:
        if min(self.streams, self.robustness_clips, self.live_clips, self.noise_minutes) < 0:
            raise UsageError("Counts of clips and minutes cannot be negative; use 0 to leave a measurement out.")
        if self.folds < 2:
            raise UsageError(f"{self.folds} folds leave no speaker to train on; use 2 or more.")
        if self.protocol != "holdout":
            require_sklearn()
        elif self.also:
            raise UsageError("Under holdout only one checkpoint is tested; leave --also out, or use --protocol loso.")
