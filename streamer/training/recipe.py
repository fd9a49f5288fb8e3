"""Hyperparameters of a training run, stored in its work folder."""

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

_JSON_KEYS = {"head_steps": "settling"}  # as in the work folders of earlier versions


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. The defaults suit a trained encoder, with the teacher. UsageError for impossible values.

    The fields are keys of `recipe.json`, but for those in _JSON_KEYS.
    """

    start: str = "bundled"  # bundled, measured, lower, pretrained, random, or a checkpoint's path
    tune: Tune = "deep"
    teacher: str | None = DEFAULT_TEACHER  # None: labels only
    second_teacher: str | None = None  # another one besides
    epochs: int = 40
    patience: int = 6  # epochs without improvement before early stopping; 0: train all epochs and keep the last
    minutes: float | None = None  # wall time after which the running epoch is the last
    batch_size: int = 32
    window_s: float = 2.4
    learning_rate: float = 8e-4  # of the pooling and the heads
    encoder_learning_rate: float | None = None  # None: 6e-4, but 1e-5 for tune `all` of a trained encoder
    weight_decay: float = 0.05
    versions: int = 4  # cached for each clip where convolutions are frozen (see StemStore)
    dropout: float = 0.1  # of pooled values, and between the layers of the LSTM
    mixup: float = 0.0  # parameter of the Beta distribution of mixup; 0: none
    averaging: float = 0.995  # decay of the exponential moving average of the weights, which is validated and exported
    non_speech: float = 0.05  # windows of non-speech, as a share of the clips
    head_steps: int = 1500  # steps of refitting the linear head on the finished encoder; 0: it is not refitted
    delay_s: float = 0.2  # how much later than the teacher the student outputs a frame
    restarts: float = 0.15  # share of windows before which the encoder is put to rest; 1: before all
    seed: int = DEFAULT_SEED
    weights: Weights = field(default_factory=Weights)
    softness: Softness = field(default_factory=Softness)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.tune not in ("head", "upper", "deep", "all"):
            raise UsageError(f"tune is {self.tune!r}; use head, upper, deep or all.")
        for name, least in (("epochs", 1), ("patience", 0), ("batch_size", 1), ("versions", 1), ("head_steps", 0)):
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
        if not 0 <= self.restarts <= 1:
            raise UsageError(f"restarts is {self.restarts}; use 0 to 1.")
        if self.second_teacher is not None and self.teacher is None:
            raise UsageError("There is a second teacher without a first; leave it out, or --no-teacher.")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; use 0 or more.")
        if not 0.1 <= self.window_s <= 30:
            raise UsageError(f"window_s is {self.window_s}; use 0.1 to 30 seconds.")
        if self.start == "random" and self.tune != "all":
            raise UsageError("A random encoder has no trained layers to freeze; train it with tune all.")
        if self.start == "lower" and self.tune not in ("deep", "all"):
            raise UsageError("With start lower all layers above 600 Hz are random; train them with tune deep or all.")

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names or files of the teachers."""
        return tuple(one for one in (self.teacher, self.second_teacher) if one is not None)

    @property
    def encoder_rate(self) -> float:
        """Peak learning rate of the encoder."""
        if self.encoder_learning_rate is not None:
            return self.encoder_learning_rate
        return 1e-5 if self.tune == "all" and self.start not in ("random", "lower") else 6e-4

    def to_json(self) -> str:
        """Return every value as JSON. The text is part of the names of cached files: key order counts."""
        values = {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}
        if self.second_teacher is None:
            del values["second_teacher"]  # which earlier versions did not know
        return json.dumps(values, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        values = json.loads(text)
        values.setdefault("restarts", 1.0)  # which earlier versions did not know
        values["weights"] = Weights(**values["weights"])
        values["softness"] = Softness(**values["softness"])
        ranges: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["augmentation"].items()
        }
        values["augmentation"] = Augmentation(**ranges)
        for name, key in _JSON_KEYS.items():
            values[name] = values.pop(key)
        return cls(**values)
