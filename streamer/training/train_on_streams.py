"""Fit the head of a checkpoint to streams (`streamer train-streams`), with the encoder frozen.

Every speaker's clips become streams in several recording conditions; their windows are pooled once, and each is seen by
a history of other windows of its stream. Natural speech is taken for neutral, and sounds without speech for nothing.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from streamer.arrays import Float32Array
from streamer.constants import DEFAULT_WINDOW_S
from streamer.corpora.array_store import fingerprint_of_weights
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.corpora.splits import Split, check_no_leakage, describe_split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import CheckpointCard, StreamHistory
from streamer.emotion.model import Classifier
from streamer.errors import UsageError
from streamer.progress import Reporter
from streamer.training.export import EvaluatedModel, Provenance, export_checkpoint
from streamer.training.losses import label_mask
from streamer.training.predict import ClipEncoder, Predictions
from streamer.training.stream_calibration import (
    Judged,
    asked_for,
    calibrated_scale,
    history_of,
    joined,
    judge,
    stream_threshold,
    temper_by_distance,
)
from streamer.training.stream_frames import Material, StreamFrames, is_as_recorded, is_calibrating
from streamer.training.stream_head import HeadExamples, balanced_weights, fit_stream_head
from streamer.training.stream_windows import (
    LEAST_VOICED,
    Bools,
    StreamWindows,
    pool_streams,
    random_shifts,
    targets_and_masks,
)
from streamer.training.validation import WINDOWS_S

HOP_S = 0.48  # between the windows of a stream that are learned from: every other one of the monitor's
_RENDERED = 20  # streams of rendered sounds without speech


@dataclass(frozen=True, slots=True)
class StreamRecipe:
    """How a head is fitted to streams."""

    seed: int
    versions: int = 2  # of each stream: as recorded, and otherwise
    l2: float = 0.1  # penalty on the squared weights of standardised values
    draws: int = 1  # of histories for each window
    natural: float = 0.2  # weight of natural speech, where a corpus weighs 1
    non_speech: float = 0.15
    everyone: str | Path | None = None  # a checkpoint of the same encoder that gets a head of all speakers


@dataclass(frozen=True)
class StreamData:
    """What a head is fitted to, and who is in which part of it."""

    corpora: Sequence[Corpus]
    split: Split
    natural: Sequence[Sequence[Clip]]  # groups of recordings, each a stream
    non_speech: Sequence[Sequence[Clip]]

    @property
    def labels_of(self) -> dict[str, Sequence[str]]:
        """The labels of each corpus."""
        return {corpus.name: corpus.labels for corpus in self.corpora}


def train_on_streams(
    data: StreamData, recipe: StreamRecipe, checkpoint: str | Path, work: Path, output: Path, reporter: Reporter
) -> Path:
    """Write a checkpoint with the encoder of another one, and a head and a history fitted to streams.

    Validation speakers choose temperatures and thresholds. How much less sure the model is of unfamiliar streams comes
    from corpora that were left out in turn.

    Args:
        data: corpora, natural speech and sounds.
        recipe: how to fit.
        checkpoint: `bundled`, `measured`, or a file.
        work: folder of the caches; an interrupted run goes on from them.
        output: the file to write.
        reporter: takes lines of text, and shows progress.

    Returns:
        `output`.

    Raises:
        UsageError: the split tests a speaker that the checkpoint was trained on, or validates none.
        CheckpointError: the checkpoint cannot be read.
        StreamerError: a recording cannot be read.
    """
    model = EmotionDetectionModel.from_checkpoint(checkpoint)
    assert model.card is not None, "a loaded model has a card"
    check_no_leakage(data.split, model.card.speakers, model.card.name)
    if not data.split.validation:
        raise UsageError("The split validates no speaker to calibrate with; give one that does.")
    other = None if recipe.everyone is None else _of_the_same_encoder(model, recipe.everyone)
    reporter.log(describe_split(data.split, data.corpora))
    fitting = _Fitting(model, data, recipe, work, reporter)
    tested = fitting.fit_and_calibrate()
    split = data.split
    if other is not None:
        fitting.refit_to_everyone()
        model, split = _with_streams_of(other, model), split.together()
    card = model.card
    assert card is not None, "a loaded model has a card"
    evaluated = EvaluatedModel(
        model=model,
        calibrations=tuple(replace(one, threshold=fitting.thresholds[one.window_s]) for one in card.calibrations),
        tested=tested,
        neutral_mean=card.neutral_mean,
        notes=_notes(card, recipe, len(split.train)),
        scored_by="" if other is None else f"by {fitting.name}, whose heads were fitted to the training speakers alone",
    )
    return export_checkpoint(evaluated, Provenance(data.corpora, split, card), output, reporter.log)


def _of_the_same_encoder(model: EmotionDetectionModel, checkpoint: str | Path) -> EmotionDetectionModel:
    """Load a checkpoint that has the encoder of `model`.

    Raises:
        CheckpointError: it cannot be read.
        UsageError: it has another encoder.
    """
    other = EmotionDetectionModel.from_checkpoint(checkpoint)
    if _fingerprint(model) != _fingerprint(other):
        raise UsageError(f"{checkpoint} has another encoder; --everyone takes one of the same encoder, as bundled.")
    return other


def _fingerprint(model: EmotionDetectionModel) -> str:
    return fingerprint_of_weights([*model.encoder.parameters(), *model.pooling.parameters()])


def _with_streams_of(other: EmotionDetectionModel, model: EmotionDetectionModel) -> EmotionDetectionModel:
    """Give `other` the stream classifier and the history of `model`, for its own temperature."""
    assert model.stream_classifier is not None, "it was fitted"
    scaled = copy.deepcopy(model.stream_classifier)
    with torch.no_grad():
        for parameter in scaled.parameters():
            parameter.mul_(other.temperature / model.temperature)
    other.stream_classifier, other.history = scaled, model.history
    return other


class _Fitting:
    """One run: its windows, and the model whose head is replaced again and again."""

    def __init__(
        self, model: EmotionDetectionModel, data: StreamData, recipe: StreamRecipe, work: Path, reporter: Reporter
    ) -> None:
        self._model, self._data, self._recipe = model, data, recipe
        clips, split = clips_of(data.corpora), data.split
        recordings = [clip for groups in (data.natural, data.non_speech) for group in groups for clip in group]
        audio = AudioStore(work)
        audio.prepare([*clips, *recordings], reporter.progress)
        train, validation = split.select(clips, "train"), split.select(clips, "validation")
        heard = [*train, *validation] if recipe.everyone is None else clips
        self._frames = StreamFrames(work, model, audio, recipe.seed)
        material = Material(heard, data.natural, data.non_speech, train, validation)
        self._frames.prepare(material, recipe.versions, _RENDERED, reporter.progress)
        self._windows = pool_streams(model, self._frames, DEFAULT_WINDOW_S, HOP_S)
        self._log = reporter.log
        self._test = split.select(clips, "test")
        self._encoder = ClipEncoder.from_audio(model, audio)
        self.name = model.card.name if model.card is not None else ""
        self.thresholds: dict[float, float] = {}  # by window_s

    def fit_and_calibrate(self) -> Predictions:
        """Fit the stream head to the training speakers, calibrate it, and return predictions for whole test clips."""
        model, names = self._model, [corpus.name for corpus in self._data.corpora]
        temperature = float(model.temperature)
        foreign = [judged for name in names if len(names) > 1 and (judged := self._as_foreign(name, names))]
        rule = self._fit(names, self._data.split.train)
        self._scale(names, rule)
        validation = np.isin(self._windows.speakers, list(self._data.split.validation))
        known = self._judge(self._windows.select(validation), names, rule)
        model.history = temper_by_distance(rule, known, joined(foreign) if foreign else known, temperature)
        self.thresholds = {window_s: self._threshold(rule, names, window_s) for window_s in WINDOWS_S}
        self._log(
            f"history: temperature exp({model.history.log_temperature_offset} + "
            f"{model.history.log_temperature_slope} x distance), unfamiliar beyond {model.history.unfamiliar}; "
            f"thresholds {self.thresholds}"
        )
        return self._encoder.predict(self._data.corpora, self._test)

    def refit_to_everyone(self) -> None:
        """Fit the stream head to all speakers; what was chosen by validation speakers stays."""
        chosen, scale = self._model.history, self._scaled_by
        assert chosen is not None, "fit_and_calibrate has run"
        rule = self._fit([corpus.name for corpus in self._data.corpora], self._data.split.together().train)
        self._multiply(scale)
        self._model.history = replace(
            rule,
            log_temperature_offset=chosen.log_temperature_offset,
            log_temperature_slope=chosen.log_temperature_slope,
            unfamiliar=chosen.unfamiliar,
        )

    def _scale(self, corpora: Sequence[str], rule: StreamHistory) -> None:
        """Scale the stream head so that the temperature of the clips' head serves both."""
        full = self._judged(self._windows, corpora, rule)
        kept = self._model.stream_classifier
        assert kept is not None, "it was fitted"
        self._model.stream_classifier = _silent(kept)
        none = self._judged(self._windows, corpora, rule)
        self._model.stream_classifier = kept
        self._scaled_by = calibrated_scale(none, full, float(self._model.temperature))
        self._multiply(self._scaled_by)

    def _multiply(self, scale: float) -> None:
        assert self._model.stream_classifier is not None, "it was fitted"
        with torch.no_grad():
            for parameter in self._model.stream_classifier.parameters():
                parameter.mul_(scale)

    def _fit(self, corpora: Sequence[str], speakers: Collection[str]) -> StreamHistory:
        """Fit the head to these speakers of these corpora, and to the rest; return the history's constants."""
        recipe, windows = self._recipe, self._windows
        own = (
            np.isin(windows.speakers, list(speakers)) & np.isin(windows.corpora, list(corpora)) & ~_calibrating(windows)
        )
        others = ~np.isin(windows.corpora, [corpus.name for corpus in self._data.corpora])
        windows = windows.select((own & (windows.voiced >= LEAST_VOICED)) | others)
        weights = balanced_weights(windows, dict.fromkeys(corpora, 1.0))
        rule = history_of(windows, weights)
        rng = np.random.default_rng(recipe.seed)
        shifts = [random_shifts(windows, np.array(rule.mean), rule.prior_s, rng) for _ in range(recipe.draws)]
        labels_of = {name: labels for name, labels in self._data.labels_of.items() if name in corpora}
        targets, masks = targets_and_masks(windows, labels_of)
        weights = weights + self._other_weights(windows, corpora)
        examples = HeadExamples(
            vectors=np.concatenate([windows.vectors - shift for shift in shifts]),
            targets=np.tile(targets, (recipe.draws, 1)),
            masks=np.tile(masks, (recipe.draws, 1)),
            weights=np.tile(weights, recipe.draws),
            spoken=np.any([label_mask(labels) for labels in labels_of.values()], axis=0),
        )
        self._model.stream_classifier = fit_stream_head(examples, recipe.l2)
        return rule

    def _other_weights(self, windows: StreamWindows, corpora: Sequence[str]) -> Float32Array:
        """Return the weights `[N]` of natural speech and of sounds, each kind's windows all alike."""
        speech = windows.coverage.sum(axis=1) > 0
        others = ~np.isin(windows.corpora, list(corpora))
        weights = np.zeros(len(windows), np.float32)
        for rows, total in ((others & speech, self._recipe.natural), (others & ~speech, self._recipe.non_speech)):
            weights[rows] = total / max(1, int(rows.sum()))
        return weights

    def _judged(self, windows: StreamWindows, corpora: Sequence[str], rule: StreamHistory) -> Judged:
        """Judge the calibration streams of these corpora: as recorded, of validation speakers.

        In rooms and by telephone the model is right less often; a temperature for all of them would silence it where it
        is right.
        """
        return self._judge(windows.select(_calibrating(windows)), corpora, rule)

    def _judge(self, windows: StreamWindows, corpora: Sequence[str], rule: StreamHistory) -> Judged:
        labels_of = self._data.labels_of
        parts = [(name, windows.select(windows.corpora == name)) for name in corpora]
        return joined([judge(self._model, part, rule, labels_of[name]) for name, part in parts if len(part)])

    def _as_foreign(self, name: str, corpora: Sequence[str]) -> Judged | None:
        """Judge a corpus, as recorded, with a stream head that was fitted to all others; it counts as one speaker.

        That head has heard none of its speakers: only those that test are left out. Labels that no other corpus has
        are not asked for: what a head cannot know says nothing of how sure it should be.

        Returns:
            None where the others have none of its labels.
        """
        others = [other for other in corpora if other != name]
        rule = self._fit(others, self._data.split.train)
        self._scale(others, rule)
        labels_of, windows, tested = self._data.labels_of, self._windows, list(self._data.split.test)
        of_others = {label for other in others for label in labels_of[other]}
        labels = [label for label in labels_of[name] if label in of_others]
        as_recorded = np.array([is_as_recorded(key) for key in windows.streams], dtype=bool)
        heard = windows.select((windows.corpora == name) & as_recorded & ~np.isin(windows.speakers, tested))
        judged = replace(asked_for(judge(self._model, heard, rule, labels)), speakers=1)
        return judged if len(judged.targets) else None

    def _threshold(self, rule: StreamHistory, corpora: Sequence[str], window_s: float) -> float:
        frames = (one for one in self._frames if is_calibrating(one[0]))
        windows = pool_streams(self._model, frames, window_s, HOP_S)
        return stream_threshold(self._judged(windows, corpora, rule), float(self._model.temperature))


def _calibrating(windows: StreamWindows) -> Bools:
    return np.array([is_calibrating(key) for key in windows.streams], dtype=bool)


def _silent(classifier: Classifier) -> Classifier:
    """Return a classifier whose logits are all 0."""
    silent = copy.deepcopy(classifier)
    with torch.no_grad():
        for parameter in silent.parameters():
            parameter.zero_()
    return silent


def _notes(card: CheckpointCard, recipe: StreamRecipe, speakers: int) -> str:
    whom = f"all {speakers} speakers" if recipe.everyone else f"{speakers} training speakers"
    return (
        f"Encoder and clips' head are {card.name}'s. The stream head was fitted to {whom}: their clips joined, in "
        f"{recipe.versions} recording conditions, seen by a running mean, with natural speech as neutral (seed "
        f"{recipe.seed}). Temperatures, thresholds and the history's caution come from validation speakers. "
        f"Of {card.name}: {card.notes}"
    )
