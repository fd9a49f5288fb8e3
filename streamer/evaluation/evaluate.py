"""How good a checkpoint is, on speakers that it never heard: `streamer evaluate`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamer.arrays import Float32Array
from streamer.audio.level import LEVEL_VERSION
from streamer.codec.device import choose_device
from streamer.corpora.array_store import RaggedStore, fingerprint
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.corpora.splits import (
    DEFAULT_SEED,
    Split,
    check_no_leakage,
    known_speakers,
    pin_known_speakers,
    read_split,
    speakers_known_to,
    split_speakers,
)
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration
from streamer.emotion.labels import LABELS
from streamer.emotion.pooling import POOLED_DIM
from streamer.errors import UsageError
from streamer.evaluation.baselines import PeerResult, fit_loudness, peer_results
from streamer.evaluation.cross_validation import (
    Folds,
    Protocol,
    folds_of_each,
    joined,
    refit_probabilities,
)
from streamer.evaluation.false_alarms import Alarms, false_alarms, recordings_in
from streamer.evaluation.precision import PrecisionEffect, measure_precisions
from streamer.evaluation.robustness import Robustness, measure_robustness
from streamer.evaluation.through_worker import LiveResult, Monitored, stream_clips
from streamer.evaluation.voice_profiles import CalibratedVoices, measure_calibrated
from streamer.extras import require_sklearn
from streamer.progress import Log, Progress
from streamer.training.losses import label_mask
from streamer.training.metrics import Measures, measure
from streamer.training.predict import ClipEncoder, classify_pooled
from streamer.training.teacher import WhisperTeacher
from streamer.training.temperature import probabilities

_PART = 64  # clips that are heard between two moves of the progress bar


def hear(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpus: Corpus,
    clips: Sequence[Clip],
    work: Path,
    progress: Progress[Any],
) -> dict[Clip, Float32Array]:
    """What the classifier is given of each whole clip, `[640]`; what this or an earlier evaluation heard is kept in `work`.

    Clips of like length are heard together.
    """
    device = next(model.parameters()).device.type
    heard = RaggedStore(work / f"heard-{fingerprint(model.sha256, LEVEL_VERSION, device)}", POOLED_DIM, np.float32)
    left = sorted((clip for clip in clips if clip.key not in heard), key=lambda clip: audio.frames(clip.key))
    encoder = ClipEncoder.from_audio(model, audio)
    for part in progress([left[at : at + _PART] for at in range(0, len(left), _PART)], f"hearing {corpus.name}"):
        for clip, vector in zip(part, encoder.pooled(part), strict=True):
            heard.append(clip.key, vector[None])
    return {clip: np.array(heard[clip.key][0]) for clip in clips}


def whole_clips(
    model: EmotionDetectionModel,
    corpus: Corpus,
    of_each: Sequence[Folds],
    heard: Sequence[Mapping[Clip, Float32Array]],
    calibration: Calibration,
    protocol: Protocol,
    seed: int,
) -> Measures:
    """The table of whole clips: by the checkpoint's classifier, or by one fitted in every fold of each checkpoint."""
    folds = joined(of_each)
    tested = [folds.clips[row] for row in folds.tested]
    if protocol == "holdout":
        logits = classify_pooled(model, np.stack([heard[0][clip] for clip in tested]), label_mask(corpus.labels))
        probs = probabilities(logits, calibration.temperature)
    else:  # rows of no fold's test are zeros, and every row is tested once
        fitted = [
            refit_probabilities(np.stack([whole[clip] for clip in own.clips]), own)
            for own, whole in zip(of_each, heard, strict=True)
        ]
        probs = np.sum(fitted, axis=0)[folds.tested]
    answers = folds.answers[folds.tested]
    return measure(probs, answers, [clip.speaker for clip in tested], corpus.labels, calibration.threshold, seed)


_VOICES = 30  # test clips that babble is made of


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How much to measure. UsageError for what cannot work."""

    protocol: Protocol = "holdout"  # for the tables of whole clips and their peers
    folds: int = 5  # of kfold
    also: tuple[Path, ...] = ()  # checkpoints that answer, under kfold and loso, for whom those before them have heard
    seed: int = DEFAULT_SEED  # of the split, unless one is given, and of every draw
    split: Path | None = None  # a `split.json` or a checkpoint; None: the measured one's parts, others from the seed
    voices: bool = True  # what calibrating them gives
    robustness_clips: int = 200  # drawn from the test clips of all corpora; 0 measures none
    live_clips: int = 100  # of each corpus; 0 measures none
    noise_minutes: float = 20.0  # of each kind of sound without a voice; 0 measures none
    without_voice: tuple[Path, ...] = ()  # recordings, or folders of them, for more false alarms
    peers: bool = True
    teacher: str | None = None  # its file or name on the hub, for a row beside the peers
    precisions: bool = False  # of the encoder, on the CPU, over all whole clips of test speakers
    device: str = "cpu"
    threads: int | None = None  # of the CPU; None: torch's choice

    def __post_init__(self) -> None:
        if min(self.robustness_clips, self.live_clips, self.noise_minutes) < 0:
            raise UsageError("Counts of clips and minutes cannot be negative; use 0 to leave a measurement out.")
        if self.folds < 2:
            raise UsageError(f"{self.folds} folds leave nobody to learn from; use 2 or more.")
        if self.protocol != "holdout":
            require_sklearn()
        elif self.also:
            raise UsageError("Under holdout one checkpoint answers; leave --also out, or use --protocol loso.")


@dataclass(frozen=True)
class CorpusResult:
    """One corpus. Answers are restricted to its labels."""

    name: str
    labels: tuple[str, ...]
    speakers: tuple[str, ...]  # that whole clips were answered for
    clips: Measures  # whole clips
    peers: dict[str, PeerResult]  # on the same clips
    live: LiveResult | None  # windows of test speakers, by the worker
    calibrated: CalibratedVoices | None  # test speakers, with their neutral voices taken out


@dataclass(frozen=True)
class Evaluation:
    """All that was measured, and on what."""

    checkpoint: str
    model: str  # the card's name
    sha256: str
    protocol: Protocol
    also: tuple[str, ...]  # the cards' names of further checkpoints that answer for whole clips
    seed: int
    window_s: float
    temperature: float
    threshold: float
    corpora: tuple[CorpusResult, ...]
    robustness: Robustness | None
    false_alarms: dict[str, Alarms] = field(default_factory=dict)
    precisions: dict[str, PrecisionEffect] = field(default_factory=dict)


def evaluate(
    checkpoint: str | Path,
    corpora: Sequence[Corpus],
    options: EvaluationOptions,
    work: Path,
    log: Log,
    progress: Progress[Any],
) -> Evaluation:
    """Measure a checkpoint.

    The protocol decides whose whole clips are in the tables, beside the peers. Windows in the worker and robustness are
    measured on the test speakers of the holdout split, with the checkpoint's own classifier, under every protocol, and
    whatever checkpoints are asked also.

    Args:
        checkpoint: `bundled`, `measured` or a path.
        corpora: what to measure on.
        options: how much.
        work: a folder for decoded audio, the peers' features and what was heard of whole clips; a training's folder serves.
        log: takes one line at a time.
        progress: shows how far a loop is.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        UsageError: it names other labels, one of those asked also does not say whom it has heard, a corpus is too small
            to split, nobody of it is tested, the split tests somebody whom the checkpoint has heard, a recording without
            a voice is not there, or the teacher is none.
        StreamerError: a recording cannot be read.
    """
    model = EmotionDetectionModel.from_checkpoint(checkpoint).to(choose_device(options.device))
    card = model.card
    assert card is not None, "a loaded model has a card"
    if model.labels != LABELS:
        raise UsageError(f"{checkpoint} names other labels than {', '.join(LABELS)}; evaluate another checkpoint.")
    calibration = card.calibration_for(card.window_s)
    if options.split is None:
        split = pin_known_speakers(split_speakers(corpora, options.seed), card.speakers, "test")
    else:
        split = read_split(options.split)
    check_no_leakage(split, card.speakers, card.name)
    test = {corpus.name: split.select(corpus.clips, "test") for corpus in corpora}
    for name, clips in test.items():
        if not clips:
            raise UsageError(
                f"No speaker of {name} is tested: the split names none, or {card.name} has heard them all; "
                "evaluate measured in place of bundled, use the split of the same corpora, or give more speakers."
            )
    for path in options.without_voice:
        recordings_in(path)  # what is not there is said before an hour of measuring
    teacher = None if options.teacher is None else WhisperTeacher.load(options.teacher)
    models = [model, *_asked_also(options)]
    audio = AudioStore(work)
    heard_by_each = [known_speakers(one.card.speakers) for one in models if one.card is not None]
    all_folds = [folds_of_each(corpus, options.protocol, split, options.folds, heard_by_each) for corpus in corpora]
    for of_each in all_folds:
        folds = joined(of_each)
        learns = options.peers or options.protocol != "holdout"
        audio.prepare(folds.clips if learns else [folds.clips[row] for row in folds.tested], progress)

    monitored = None
    if options.live_clips or options.noise_minutes or options.without_voice:
        monitored = Monitored(str(checkpoint), card, options.device, options.threads)
    rng = np.random.default_rng(options.seed)
    results = []
    for corpus, of_each in zip(corpora, all_folds, strict=True):
        asked, folds = test[corpus.name], joined(of_each)
        wanted = asked if options.protocol == "holdout" else folds.clips
        heard = [hear(one, audio, corpus, wanted, work, progress) for one in models]
        measures = whole_clips(model, corpus, of_each, heard, calibration, options.protocol, options.seed)
        log(f"{corpus.name}: UAR {measures.uar:.3f} ({measures.interval[0]:.3f} to {measures.interval[1]:.3f})")
        live = None
        if monitored is not None and options.live_clips:
            drawn = _draw(asked, options.live_clips, rng)
            live = stream_clips(monitored, audio, corpus, drawn, calibration.threshold, options.seed, progress)
        calibrated = None
        if options.voices:
            own = {clip: heard[0][clip] for clip in asked}
            calibrated = measure_calibrated(model, audio, corpus, own, options.seed, progress)
        results.append(
            CorpusResult(
                name=corpus.name,
                labels=corpus.labels,
                speakers=tuple(sorted({folds.clips[row].speaker for row in folds.tested})),
                clips=measures,
                peers=peer_results(audio, folds, work, options.seed, progress, teacher) if options.peers else {},
                live=live,
                calibrated=calibrated,
            )
        )
    robustness = None
    drawn = _draw([clip for clips in test.values() for clip in clips], options.robustness_clips, rng)
    if drawn:
        robustness = _robustness(model, audio, corpora, split, drawn, options, progress)
    alarms: dict[str, Alarms] = {}
    if monitored is not None:
        alarms = false_alarms(monitored, options.noise_minutes, options.without_voice, options.seed, progress)
    precisions: dict[str, PrecisionEffect] = {}
    if options.precisions:
        everything = [clip for clips in test.values() for clip in clips]
        audio.prepare(everything, progress)
        precisions = measure_precisions(model.cpu(), audio, corpora, everything, progress)
    return Evaluation(
        checkpoint=str(checkpoint),
        model=card.name,
        sha256=model.sha256 or "",
        protocol=options.protocol,
        also=tuple(one.card.name for one in models[1:] if one.card is not None),
        seed=split.seed,
        window_s=card.window_s,
        temperature=calibration.temperature,
        threshold=calibration.threshold,
        corpora=tuple(results),
        robustness=robustness,
        false_alarms=alarms,
        precisions=precisions,
    )


def _asked_also(options: EvaluationOptions) -> list[EmotionDetectionModel]:
    models = []
    for path in options.also:
        model = EmotionDetectionModel.from_checkpoint(path).to(choose_device(options.device))
        speakers_known_to(model.card, path)
        models.append(model)
    return models


def _robustness(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpora: Sequence[Corpus],
    split: Split,
    drawn: Sequence[Clip],
    options: EvaluationOptions,
    progress: Progress[Any],
) -> Robustness:
    test, train = split.select(clips_of(corpora), "test"), split.select(clips_of(corpora), "train")
    audio.prepare([*test, *train], progress)
    loudness = {}
    for corpus in corpora:
        classify = fit_loudness(audio, [clip for clip in train if clip.corpus == corpus.name])
        if classify is not None:
            loudness[corpus.name] = classify
    voices = tuple(audio[clip.key] for clip in test[:: max(1, len(test) // _VOICES)])
    return measure_robustness(model, audio, corpora, drawn, voices, loudness, options.seed, progress)


def _draw(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> list[Clip]:
    """Up to `count` of the clips, in their order."""
    return [clips[place] for place in sorted(rng.permutation(len(clips))[:count])]
