"""The end of a training: what the model is worth, and its checkpoint with the card."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.audio.level import LEVEL_VERSION, TARGET_RMS
from streamer.constants import SAMPLE_RATE
from streamer.corpora.corpus import Corpus
from streamer.corpora.splits import DEFAULT_SEED, Split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Accuracy, Calibration, CheckpointCard, Speakers
from streamer.emotion.checkpoint import save_checkpoint
from streamer.emotion.labels import LABELS
from streamer.progress import Log
from streamer.training.metrics import Measures, measure
from streamer.training.predict import Predictions
from streamer.training.temperature import probabilities

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """What the card says of a model's answers."""

    calibrations: tuple[Calibration, ...]
    tested: Predictions  # of the test speakers' whole clips
    notes: str
    answered_by: str = ""  # by whom, where it is not the model itself


_WINDOW_S, _HOP_S = 3.0, 0.24  # the monitor's defaults


def export_checkpoint(
    model: EmotionDetectionModel,
    corpora: Sequence[Corpus],
    origin: CheckpointCard | None,
    worth: EvaluatedModel,
    split: Split,
    neutral_mean: tuple[float, ...] | None,
    output: Path,
    log: Log,
) -> Path:
    """Write the checkpoint of a trained model.

    Args:
        model: its weights.
        corpora: what it learnt from.
        origin: the card of what it began with.
        worth: what it is worth.
        split: whom it has heard in which part.
        neutral_mean: what voice profiles are set against, `[128]`.
        output: the file to write.
        log: takes one line at a time.

    Returns:
        `output`.
    """
    card = CheckpointCard(
        name=output.stem,
        labels=LABELS,
        sample_rate_hz=SAMPLE_RATE,
        level_version=LEVEL_VERSION,
        level_target_rms=TARGET_RMS,
        window_s=_WINDOW_S,
        hop_s=_HOP_S,
        calibrations=worth.calibrations,
        training_data=_training_data(corpora, origin),
        accuracy=(),
        licence=_licence(corpora, origin),
        notes=worth.notes,
        neutral_mean=neutral_mean,
        speakers=_speakers(split, origin),
        highpass_hz=model.highpass_hz,
    )
    chosen = card.calibration_for(_WINDOW_S)
    measured = [
        (corpus, _measure(answers, corpus.labels, chosen))
        for corpus in corpora
        if (answers := worth.tested.of_corpus(corpus.name)).clips
    ]
    accuracy = tuple(_accuracy(corpus.name, one, worth.answered_by) for corpus, one in measured)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(output, model.state_dict(), replace(card, accuracy=accuracy))
    for (corpus, one), told in zip(measured, accuracy, strict=True):
        log(f"test {corpus.name}: UAR {told.value:.3f}, {told.protocol}")
        log(_more(one, corpus.labels))
    log(f"temperature {chosen.temperature:.2f}, threshold {chosen.threshold:.2f}; written to {output}")
    return output


def _measure(tested: Predictions, labels: Sequence[str], calibration: Calibration) -> Measures:
    """Every number of one corpus's test speakers."""
    probs = probabilities(tested.logits, calibration.temperature)
    speakers = [clip.speaker_id for clip in tested.clips]
    return measure(probs, tested.targets, speakers, labels, calibration.threshold, DEFAULT_SEED)


def _accuracy(corpus: str, measured: Measures, answered_by: str) -> Accuracy:
    """What the card tells of them, with the interval over speakers in the protocol's text."""
    low, high = measured.interval
    labels = sum(not math.isnan(share) for share in measured.recall)  # that test speakers have said
    return Accuracy(
        corpus=corpus,
        metric="UAR",
        value=round(measured.uar, 4),
        chance=round(1 / labels, 4),
        protocol=(
            f"{labels} labels, {measured.count} whole clips of {len(measured.of_speakers)} speakers never heard, "
            f"95 % interval over speakers {low:.3f} to {high:.3f}{answered_by and f'; {answered_by}'}"
        ),
    )


def _more(measured: Measures, labels: Sequence[str]) -> str:
    """A line of what the card does not tell."""
    recall = ", ".join(f"{label} {share:.2f}" for label, share in zip(labels, measured.recall, strict=True))
    of_speakers = measured.of_speakers.values()
    return (
        f"  accuracy {measured.accuracy:.3f}, {measured.answered_accuracy:.3f} of the {measured.answered:.0%} answered; "
        f"calibration error {measured.expected_calibration_error:.3f}; recall {recall}; "
        f"from speaker to speaker UAR {min(of_speakers):.2f} to {max(of_speakers):.2f}"
    )


def _training_data(corpora: Sequence[Corpus], origin: CheckpointCard | None) -> tuple[str, ...]:
    """What was learnt from here, then what the model began with had learnt from."""
    here = [
        f"{corpus.name}: {len(corpus.clips)} clips, {len(corpus.speakers)} speakers, {corpus.licence}"
        for corpus in corpora
    ]
    names = tuple(corpus.name.lower() for corpus in corpora)
    before = () if origin is None else origin.training_data
    return (*here, *(data for data in before if not data.lower().startswith(names)))


def _licence(corpora: Sequence[Corpus], origin: CheckpointCard | None) -> str:
    """What binds the weights: the corpora, and what the model began with."""
    licences = [corpus.licence for corpus in corpora]
    if origin is not None and not origin.licence.startswith(tuple(licences)):
        licences.append(origin.licence)
    return licence_of(licences)


def _speakers(split: Split, origin: CheckpointCard | None) -> Speakers:
    """The split, and whom the model that was begun with had heard."""
    known = Speakers((), (), ()) if origin is None or origin.speakers is None else origin.speakers
    here = {*split.train, *split.validation, *split.test}
    return Speakers(
        train=tuple(sorted({*split.train, *({*known.train, *known.validation} - here)})),
        validation=split.validation,
        test=tuple(sorted({*split.test, *(set(known.test) - here)})),
    )


def licence_of(licences: Sequence[str]) -> str:
    """What binds weights trained on data of these licences: the non-commercial and share-alike ones prevail."""
    binding = sorted({licence for licence in licences if "NC" in licence or "research" in licence or "SA" in licence})
    return "; ".join(binding) if binding else "; ".join(sorted(set(licences)))
