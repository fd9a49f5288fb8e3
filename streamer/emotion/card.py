"""The card of a checkpoint: labels, front end, calibration, training data, measured accuracy, licence."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from streamer.constants import EMBEDDING_DIM, POOLED_DIM, SAMPLE_RATE
from streamer.events.fields import MAX_LABEL, MAX_LABELS

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]  # beyond that probabilities are 0 and 1, or all the same
Text = Annotated[str, Field(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Embedding = Annotated[tuple[Finite, ...], Field(min_length=EMBEDDING_DIM, max_length=EMBEDDING_DIM)]
Pooled = Annotated[tuple[Finite, ...], Field(min_length=POOLED_DIM, max_length=POOLED_DIM)]
PooledSpread = Annotated[tuple[Positive, ...], Field(min_length=POOLED_DIM, max_length=POOLED_DIM)]


def _all_different(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) != len(labels):
        raise ValueError("two labels are the same")
    return labels


Label = Annotated[str, Field(min_length=1, max_length=MAX_LABEL)]
Labels = Annotated[tuple[Label, ...], Field(min_length=2, max_length=MAX_LABELS), AfterValidator(_all_different)]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature and confidence threshold for windows of one length."""

    window_s: Positive
    temperature: Temperature  # logits are divided by it before the softmax (Guo et al. 2017, arXiv 1706.04599)
    threshold: Share  # a window whose largest probability is below claims no label


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One measurement on held-out speakers, or as `protocol` describes it."""

    corpus: Text
    metric: Text  # "UAR": recall averaged over labels
    value: Share
    chance: Share
    protocol: Text  # on what, and how


@dataclass(frozen=True, slots=True)
class Speakers:
    """The speakers of each subset of the training, as `corpus/speaker`."""

    train: tuple[Text, ...]
    validation: tuple[Text, ...]
    test: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class StreamHistory:
    """Constants of the running mean that is subtracted from a stream's pooled windows; `streamer.emotion.history`."""

    mean: Pooled  # of the training streams' windows: where every history begins
    spread: PooledSpread  # deviation of the means of the training streams, the unit of the distance
    prior_s: Positive  # `mean` weighs as much as so many seconds of speech
    memory_s: Positive  # time constant, in seconds of speech, by which older speech is forgotten
    # A stream at the distance d divides its logits by exp(offset + slope * d) more; not below 1.
    log_temperature_offset: Finite
    log_temperature_slope: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    unfamiliar: Positive  # distance from which a screen says that voice, room or language are unfamiliar


@dataclass(frozen=True, slots=True)
class CheckpointCard:
    """Everything but the weights. Stored as JSON in the checkpoint's metadata; unknown fields are ignored."""

    name: Text
    labels: Labels  # in the order of the logits
    sample_rate_hz: int
    level_version: int  # of the level normaliser's law, `streamer.audio.level.LEVEL_VERSION`
    level_target_rms: Positive
    window_s: Positive  # that it was trained for; other lengths work less well
    hop_s: Positive
    calibrations: Annotated[tuple[Calibration, ...], Field(min_length=1)]
    training_data: tuple[Text, ...]
    accuracy: tuple[Accuracy, ...]
    licence: Text
    notes: str  # how it was made, and its limits
    # Attentive mean of the training speakers' neutral speech; voice profiles are measured against it. None: unknown.
    neutral_mean: Embedding | None = None
    # Of the training of this model and of the one it started from; further training and evaluation keep these subsets.
    speakers: Speakers | None = None  # None: unknown
    highpass_hz: Annotated[float, Field(gt=0, lt=SAMPLE_RATE / 2)] | None = (
        None  # before the level normaliser; None: off
    )

    history: StreamHistory | None = None  # None: every window is classified on its own

    def calibration_for(self, window_s: float) -> Calibration:
        """Return the calibration of the window length nearest to `window_s`."""
        return min(self.calibrations, key=lambda calibration: abs(calibration.window_s - window_s))


_ADAPTER = TypeAdapter(CheckpointCard)


def card_to_json(card: CheckpointCard) -> str:
    """Return the card as JSON.

    Raises:
        ValueError: a value is out of its range; the message names it.
    """
    text = _ADAPTER.dump_json(card).decode()
    card_from_json(text)
    return text


def card_from_json(text: str) -> CheckpointCard:
    """Parse the card in `text`.

    Raises:
        ValueError: not JSON, or a field is missing, mistyped or out of range; the message names the first such field.
    """
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the card"
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
