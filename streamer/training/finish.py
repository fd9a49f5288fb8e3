"""The end of a training: calibrate on validation speakers, measure on test speakers, write checkpoint and card."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamer.audio.level import LEVEL_VERSION, TARGET_RMS
from streamer.emotion.card import Accuracy, Calibration, CheckpointCard, Speakers
from streamer.emotion.checkpoint import save_checkpoint
from streamer.rates import SAMPLE_RATE
from streamer.training.calibration import choose_threshold, fit_temperature, probabilities
from streamer.training.corpora import LABELS, Corpus
from streamer.training.metrics import bootstrap_interval, uar, uar_of_rows
from streamer.training.predict import Predictions
from streamer.training.splits import DEFAULT_SEED, Split, speaker_of

if TYPE_CHECKING:
    from streamer.training.train import Trainer

WINDOWS_S = (1.0, 2.0, 3.0, 5.0)  # lengths that are calibrated
_WINDOW_S, _HOP_S = 3.0, 0.24  # the monitor's defaults


def finish(trainer: "Trainer", output: Path, log: Callable[[str], None]) -> Path:
    """Write the checkpoint of a trained model.

    Returns:
        `output`.
    """
    calibrations = tuple(
        calibrate(predictions, window_s)
        for predictions, window_s in zip(trainer.validate(WINDOWS_S), WINDOWS_S, strict=True)
    )
    accuracies = measure(trainer.test()[0])
    recipe, corpora = trainer.recipe, trainer.corpora
    card = CheckpointCard(
        name=output.stem,
        labels=LABELS,
        sample_rate_hz=SAMPLE_RATE,
        level_version=LEVEL_VERSION,
        level_target_rms=TARGET_RMS,
        window_s=_WINDOW_S,
        hop_s=_HOP_S,
        calibrations=calibrations,
        training_data=_training_data(corpora, trainer.origin),
        accuracy=accuracies,
        licence=_licence(corpora, trainer.origin),
        notes=(
            f"Started from {recipe.start}, trained {recipe.tune}, "
            f"{'with the teacher ' + Path(recipe.teacher).name if recipe.teacher else 'on labels alone'}, "
            f"{trainer.state.best_epoch} epochs, seed {recipe.seed}, split seed {trainer.split.seed}. "
            "Speakers of training, validation and test differ. "
            "Acted speech: how people sound when they act an emotion, not what a person feels."
        ),
        neutral_mean=trainer.neutral_mean(),
        speakers=_speakers(trainer.split, trainer.origin),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(output, trainer.kept.model.state_dict(), card)
    for accuracy in accuracies:
        log(f"test {accuracy.corpus}: UAR {accuracy.value:.3f}, {accuracy.protocol}")
    chosen = card.calibration_for(_WINDOW_S)
    log(f"temperature {chosen.temperature:.2f}, threshold {chosen.threshold:.2f}; written to {output}")
    return output


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


def calibrate(predictions: Predictions, window_s: float) -> Calibration:
    """Temperature and threshold for windows of one length, from validation speakers.

    Both with the corpora's masks, since a corpus without surprise cannot say how likely surprise is. A live window's
    probabilities spread over all labels, so somewhat fewer of them reach the threshold.
    """
    temperature = fit_temperature(predictions.logits, predictions.answers)
    probs = probabilities(predictions.logits, temperature)
    threshold = choose_threshold(probs, predictions.answers)
    return Calibration(window_s=window_s, temperature=round(temperature, 4), threshold=threshold)


def measure(predictions: Predictions) -> tuple[Accuracy, ...]:
    """UAR of each corpus, with the interval over speakers in the protocol's text."""
    accuracies = []
    for name in predictions.uars():
        part = predictions.of_corpus(name)
        answers, guesses = part.answers, part.guesses
        speakers = [speaker_of(clip) for clip in part.clips]

        low, high = bootstrap_interval(partial(uar_of_rows, answers, guesses), speakers, DEFAULT_SEED)
        labels = len(np.unique(answers))
        accuracies.append(
            Accuracy(
                corpus=name,
                metric="UAR",
                value=round(uar(answers, guesses), 4),
                chance=round(1 / labels, 4),
                protocol=(
                    f"{labels} labels, {len(part.clips)} whole clips of {len(set(speakers))} speakers never heard, "
                    f"95 % interval over speakers {low:.3f} to {high:.3f}"
                ),
            )
        )
    return tuple(accuracies)


def licence_of(licences: Sequence[str]) -> str:
    """What binds weights trained on data of these licences: the non-commercial and share-alike ones prevail."""
    binding = sorted({licence for licence in licences if "NC" in licence or "research" in licence or "SA" in licence})
    return "; ".join(binding) if binding else "; ".join(sorted(set(licences)))
