"""How to train: every choice in one value, stored beside what comes of it."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from streamer.corpora.augment import Augmentation
from streamer.corpora.splits import DEFAULT_SEED
from streamer.errors import UsageError
from streamer.training.losses import Softness, Weights
from streamer.training.teacher import DEFAULT_TEACHER
from streamer.training.tune import Tune


@dataclass(frozen=True, slots=True)
class Recipe:
    """The defaults suit a trained encoder, with the teacher. UsageError for what cannot work."""

    start: str = "bundled"  # bundled, measured, lower, pretrained, random, or a checkpoint's path
    tune: Tune = "deep"
    teacher: str | None = DEFAULT_TEACHER  # None: labels alone
    epochs: int = 40
    patience: int = 6  # epochs without a better validation before it stops; 0: never, and the last epoch is kept
    minutes: float | None = None  # wall time, after which the epoch under way is the last
    batch_size: int = 32
    window_s: float = 2.4
    learning_rate: float = 8e-4  # of what is not encoder
    encoder_learning_rate: float | None = None  # None: 6e-4, but 1e-5 for `all` of a trained encoder
    weight_decay: float = 0.05
    versions: int = 4  # stored per clip where convolutions are frozen: the recording, and others changed
    dropout: float = 0.1  # of pooled values, and between the layers of the LSTM
    mixup: float = (
        0.0  # parameter of the Beta distribution that two clips' shares are drawn from; 0: clips are not mixed
    )
    averaging: float = 0.995  # decay of the mean of the weights over steps, which is what is kept
    non_speech: float = 0.05  # windows of sound without a voice, as a share of the clips
    settling: int = 1500  # steps in which the classifier learns anew from the finished encoder; 0: it stays as it was
    delay_s: float = 0.2  # how much later than the teacher the student answers
    seed: int = DEFAULT_SEED
    weights: Weights = field(default_factory=Weights)
    softness: Softness = field(default_factory=Softness)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.tune not in ("head", "upper", "deep", "all"):
            raise UsageError(f"tune is {self.tune!r}; use head, upper, deep or all.")
        for name, least in (("epochs", 1), ("patience", 0), ("batch_size", 1), ("versions", 1), ("settling", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; use {least} or more.")
        if not 0 <= self.averaging < 1:
            raise UsageError(f"averaging is {self.averaging}; use 0 (none) or more, below 1.")
        if not (0 <= self.dropout < 1 and 0 <= self.mixup <= 10):
            raise UsageError(f"dropout is {self.dropout} and mixup {self.mixup}; use 0 to 1 (excluded), and 0 to 10.")
        for name in ("minutes", "learning_rate", "encoder_learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}; use a number above 0.")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; use 0 or more.")
        if not 0.1 <= self.window_s <= 30:
            raise UsageError(f"window_s is {self.window_s}; use 0.1 to 30 seconds.")
        if self.start == "random" and self.tune != "all":
            raise UsageError("A random encoder has learnt nothing that could stay frozen; train it with tune all.")
        if self.start == "lower" and self.tune not in ("deep", "all"):
            raise UsageError(
                "Start lower leaves random all that lies above the 600 Hz layers; train with tune deep or all."
            )

    @property
    def encoder_rate(self) -> float:
        """The encoder's peak learning rate."""
        if self.encoder_learning_rate is not None:
            return self.encoder_learning_rate
        return 1e-5 if self.tune == "all" and self.start not in ("random", "lower") else 6e-4

    def to_json(self) -> str:
        """Every value."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote.

        Raises:
            ValueError, TypeError: it is not.
        """
        values = json.loads(text)
        values["weights"] = Weights(**values["weights"])
        values["softness"] = Softness(**values["softness"])
        ranges: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["augmentation"].items()
        }
        values["augmentation"] = Augmentation(**ranges)
        return cls(**values)
