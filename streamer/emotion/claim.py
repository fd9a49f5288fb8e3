"""When one window claims an emotion, and when it had better not. Pure Python."""

from collections.abc import Mapping
from dataclasses import dataclass

Probabilities = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Observation:
    """What the model made of one window."""

    time: float  # wall time of the window's end, seconds since the epoch
    end_s: float  # position of the window's end in the stream, in seconds
    probs: Probabilities | None  # every label, summing to 1; None where nothing was inferred
    speech: float  # share of the window with voice, 0 to 1
    warming: bool  # the window is not full of gapless audio yet


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """When one window claims an emotion: somebody spoke, the window is full, and the model is sure enough."""

    threshold: float  # of the largest probability; a checkpoint's calibration knows it
    min_speech: float = 0.3  # of the window's voice; below it, the window is silence or something else than speech

    def __post_init__(self) -> None:
        check_share("threshold", self.threshold)
        check_share("min_speech", self.min_speech)

    def heard(self, observation: Observation) -> bool:
        """Whether the probabilities say something about a voice at all."""
        return observation.probs is not None and not observation.warming and observation.speech >= self.min_speech

    def label(self, observation: Observation) -> str | None:
        """The emotion that the window claims; None in silence, in non-speech, while warming, and when unsure."""
        if observation.probs is None or not self.heard(observation):
            return None
        label, probability = max(observation.probs.items(), key=lambda item: item[1])
        return label if probability >= self.threshold else None


def check_share(name: str, value: float) -> None:
    """Raise ValueError where `value` is no share of one."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, not {value}.")
