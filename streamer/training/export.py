"""Write a trained model as a checkpoint, with a card that holds its test metrics and where it comes from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamer.audio.level import LEVEL_VERSION, TARGET_RMS
from streamer.constants import DEFAULT_HOP_S, DEFAULT_WINDOW_S, SAMPLE_RATE
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


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A trained model, and what was measured of it."""

    model: EmotionDetectionModel
    calibrations: tuple[Calibration, ...]  # from validation speakers
    tested: Predictions  # whole clips of the test speakers
    neutral_mean: tuple[float, ...] | None  # [128] the reference of voice profiles
    notes: str
    scored_by: str = ""  # which classifier made the predictions, where it is not the model's own


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a model was trained on."""

    corpora: Sequence[Corpus]
    split: Split
    origin: CheckpointCard | None  # the card of the model that training started from


def export_checkpoint(evaluated: EvaluatedModel, provenance: Provenance, output: Path, log: Log) -> Path:
    """Write the checkpoint of a trained model to `output`, and log its test metrics.

    Returns:
        `output`.
    """
    corpora = provenance.corpora
    card = CheckpointCard(
        name=output.stem,
        labels=LABELS,
        sample_rate_hz=SAMPLE_RATE,
        level_version=LEVEL_VERSION,
        level_target_rms=TARGET_RMS,
        window_s=DEFAULT_WINDOW_S,
        hop_s=DEFAULT_HOP_S,
        calibrations=evaluated.calibrations,
        training_data=_training_data(provenance),
        accuracy=(),
        licence=_licence(provenance),
        notes=evaluated.notes,
        neutral_mean=evaluated.neutral_mean,
        speakers=_speakers(provenance),
        highpass_hz=evaluated.model.highpass_hz,
        history=evaluated.model.history,
    )
    calibration = card.calibration_for(DEFAULT_WINDOW_S)
    measured = [
        (corpus, _measure(predictions, corpus.labels, calibration))
        for corpus in corpora
        if (predictions := evaluated.tested.of_corpus(corpus.name)).clips
    ]
    accuracy = tuple(_accuracy(corpus.name, measures, evaluated.scored_by) for corpus, measures in measured)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(output, evaluated.model.state_dict(), replace(card, accuracy=accuracy))
    for (corpus, measures), row in zip(measured, accuracy, strict=True):
        log(f"test {corpus.name}: UAR {row.value:.3f}, {row.protocol}")
        log(_details(measures, corpus.labels))
    log(f"temperature {calibration.temperature:.2f}, threshold {calibration.threshold:.2f}; written to {output}")
    return output


def _measure(tested: Predictions, labels: Sequence[str], calibration: Calibration) -> Measures:
    """Compute every metric of one corpus's test speakers."""
    probs = probabilities(tested.logits, calibration.temperature)
    speakers = [clip.speaker_id for clip in tested.clips]
    return measure(probs, tested.targets, speakers, labels, calibration.threshold, DEFAULT_SEED)


def _accuracy(corpus: str, measures: Measures, scored_by: str) -> Accuracy:
    """Return the card's row for one corpus, with the interval over speakers in the protocol's text."""
    low, high = measures.interval
    labels = sum(not math.isnan(recall) for recall in measures.recall)  # that occur among the test clips
    return Accuracy(
        corpus=corpus,
        metric="UAR",
        value=round(measures.uar, 4),
        chance=round(1 / labels, 4),
        protocol=(
            f"{labels} labels, {measures.count} whole clips of {len(measures.of_speakers)} held-out speakers, "
            f"95 % interval over speakers {low:.3f} to {high:.3f}{scored_by and f'; {scored_by}'}"
        ),
    )


def _details(measures: Measures, labels: Sequence[str]) -> str:
    """Return a line of metrics that are not on the card."""
    recall = ", ".join(f"{label} {share:.2f}" for label, share in zip(labels, measures.recall, strict=True))
    of_speakers = measures.of_speakers.values()
    return (
        f"  accuracy {measures.accuracy:.3f}, {measures.answered_accuracy:.3f} of the {measures.answered:.0%} above "
        f"the threshold; calibration error {measures.expected_calibration_error:.3f}; recall {recall}; "
        f"UAR of single speakers {min(of_speakers):.2f} to {max(of_speakers):.2f}"
    )


def _training_data(provenance: Provenance) -> tuple[str, ...]:
    """List the corpora, then those that only the model started from was trained on."""
    here = [
        f"{corpus.name}: {len(corpus.clips)} clips, {len(corpus.speakers)} speakers, {corpus.licence}"
        for corpus in provenance.corpora
    ]
    names = tuple(corpus.name.lower() for corpus in provenance.corpora)
    before = () if provenance.origin is None else provenance.origin.training_data
    return (*here, *(data for data in before if not data.lower().startswith(names)))


def _licence(provenance: Provenance) -> str:
    """Combine the licences of the corpora and of the model started from."""
    licences = [corpus.licence for corpus in provenance.corpora]
    origin = provenance.origin
    if origin is not None and not origin.licence.startswith(tuple(licences)):
        licences.append(origin.licence)
    return combined_licence(licences)


def combined_licence(licences: Sequence[str]) -> str:
    """Return the licence of weights trained on such data: non-commercial and share-alike ones prevail."""
    binding = sorted({licence for licence in licences if "NC" in licence or "research" in licence or "SA" in licence})
    return "; ".join(binding) if binding else "; ".join(sorted(set(licences)))


def _speakers(provenance: Provenance) -> Speakers:
    """Return the split, with the speakers that only the model started from was trained or tested on."""
    split, origin = provenance.split, provenance.origin
    known = Speakers((), (), ()) if origin is None or origin.speakers is None else origin.speakers
    here = {*split.train, *split.validation, *split.test}
    return Speakers(
        train=tuple(sorted({*split.train, *({*known.train, *known.validation} - here)})),
        validation=split.validation,
        test=tuple(sorted({*split.test, *(set(known.test) - here)})),
    )
