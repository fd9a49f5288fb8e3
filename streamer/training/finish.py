"""The end of a training: what the model is worth, and its checkpoint with the card."""

from collections.abc import Sequence
from pathlib import Path

from streamer.audio.level import LEVEL_VERSION, TARGET_RMS
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration, CheckpointCard, Speakers
from streamer.emotion.checkpoint import save_checkpoint
from streamer.rates import SAMPLE_RATE
from streamer.training.calibration import probabilities
from streamer.training.corpora import LABELS, Corpus
from streamer.training.judge import Worth
from streamer.training.material import Log
from streamer.training.metrics import measure
from streamer.training.predict import Predictions
from streamer.training.splits import DEFAULT_SEED, Split

_WINDOW_S, _HOP_S = 3.0, 0.24  # the monitor's defaults


def finish(
    model: EmotionDetectionModel,
    corpora: Sequence[Corpus],
    origin: CheckpointCard | None,
    worth: Worth,
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
        accuracy=worth.accuracy,
        licence=_licence(corpora, origin),
        notes=worth.notes,
        neutral_mean=neutral_mean,
        speakers=_speakers(split, origin),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(output, model.state_dict(), card)
    chosen = card.calibration_for(_WINDOW_S)
    labels = {corpus.name: corpus.labels for corpus in corpora}
    for accuracy in worth.accuracy:
        log(f"test {accuracy.corpus}: UAR {accuracy.value:.3f}, {accuracy.protocol}")
        log(_more(worth.tested.of_corpus(accuracy.corpus), labels[accuracy.corpus], chosen))
    log(f"temperature {chosen.temperature:.2f}, threshold {chosen.threshold:.2f}; written to {output}")
    return output


def _more(tested: Predictions, labels: Sequence[str], calibration: Calibration) -> str:
    """A line of what the card does not tell of one corpus's test speakers."""
    probs = probabilities(tested.logits, calibration.temperature)
    speakers = [clip.speaker for clip in tested.clips]
    measured = measure(probs, tested.answers, speakers, labels, calibration.threshold, DEFAULT_SEED)
    recall = ", ".join(f"{label} {share:.2f}" for label, share in zip(labels, measured.recall, strict=True))
    of_speakers = sorted(measured.of_speakers.values())
    return (
        f"  accuracy {measured.accuracy:.3f}, {measured.answered_accuracy:.3f} of the {measured.answered:.0%} answered; "
        f"calibration error {measured.expected_calibration_error:.3f}; recall {recall}; "
        f"from speaker to speaker UAR {of_speakers[0]:.2f} to {of_speakers[-1]:.2f}"
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
