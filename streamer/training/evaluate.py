"""How good a checkpoint is, on speakers that it never heard: `streamer evaluate`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from streamer.emotion import EmotionDetectionModel
from streamer.errors import UsageError
from streamer.training.calibration import probabilities
from streamer.training.corpora import LABELS, Clip, Corpus, clips_of
from streamer.training.live import LiveResult, false_alarms_per_hour, stream_clips
from streamer.training.material import AudioStore, Progress, key_of
from streamer.training.metrics import (
    Reliability,
    bootstrap_interval,
    confusion,
    f1_scores,
    recalls,
    reliability,
    uar,
    uar_of_rows,
)
from streamer.training.peers import peer_uars
from streamer.training.predict import Predictions, encoded_by, load_audio, predict
from streamer.training.robustness import unchanged_answers
from streamer.training.splits import DEFAULT_SEED, Split, speaker_of, split_speakers


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How much to measure. UsageError for what cannot work."""

    seed: int = DEFAULT_SEED  # of the split, unless one is given, and of every draw
    split: Path | None = None  # `split.json` of a training; None: drawn from the seed as training draws it
    robustness_clips: int = 100  # drawn from the test clips of all corpora; 0 measures none
    live_clips: int = 60  # of each corpus; 0 measures none
    noise_minutes: float = 5.0  # of each kind of sound without a voice; 0 measures none
    peers: bool = True

    def __post_init__(self) -> None:
        if min(self.robustness_clips, self.live_clips, self.noise_minutes) < 0:
            raise UsageError("Counts of clips and minutes cannot be negative; use 0 to leave a measurement out.")


@dataclass(frozen=True)
class CorpusResult:
    """One corpus's test speakers. Logits are restricted to the corpus's labels."""

    name: str
    labels: tuple[str, ...]
    speakers: tuple[str, ...]
    clips: int
    uar: float
    interval: tuple[float, float]  # 95 %, speakers drawn with replacement
    accuracy: float
    recall: tuple[float, ...]  # in the order of `labels`
    f1: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]  # rows what it was, columns what was said
    of_speakers: dict[str, float]  # UAR speaker by speaker
    reliability: Reliability
    answered: float  # share of clips at or above the threshold
    answered_accuracy: float  # NaN where none is
    live: LiveResult | None
    peers: dict[str, float]  # UAR on the same split


@dataclass(frozen=True)
class Evaluation:
    """All that was measured, and on what."""

    checkpoint: str
    model: str  # the card's name
    sha256: str
    seed: int
    window_s: float
    temperature: float
    threshold: float
    corpora: tuple[CorpusResult, ...]
    robustness: dict[str, float]  # share of unchanged answers
    robustness_clips: int
    false_alarms_per_hour: dict[str, float]
    noise_minutes: float  # of each sound


def evaluate(
    checkpoint: str | Path,
    corpora: Sequence[Corpus],
    options: EvaluationOptions,
    work: Path,
    log: Callable[[str], None],
    progress: Progress[Any],
) -> Evaluation:
    """Measure a checkpoint on the test speakers of a holdout split.

    Args:
        checkpoint: `bundled` or a path.
        corpora: their test speakers are heard; their training speakers train the peers.
        options: how much.
        work: a folder for decoded audio; a training's folder serves.
        log: takes one line at a time.
        progress: shows how far a loop is.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        UsageError: it names other labels, a corpus is too small to split, or no test speaker is among the clips.
        StreamerError: a recording cannot be read.
    """
    model = EmotionDetectionModel.from_checkpoint(checkpoint)
    card = model.card
    assert card is not None, "a loaded model has a card"
    if model.labels != LABELS:
        raise UsageError(f"{checkpoint} names other labels than {', '.join(LABELS)}; evaluate another checkpoint.")
    calibration = card.calibration_for(card.window_s)
    split = split_speakers(corpora, options.seed) if options.split is None else Split.load(options.split)
    clips = clips_of(corpora)
    test = split.select(clips, "test")
    missing = [corpus.name for corpus in corpora if not split.select(corpus.clips, "test")]
    if missing:
        raise UsageError(f"No test speaker of the split is in {missing[0]}; use the split of the same corpora.")
    audio = AudioStore(work)
    audio.prepare(split.select(clips, "train") + test if options.peers else test, progress)

    all_predictions = []
    for corpus in corpora:
        of_corpus = list(progress(split.select(corpus.clips, "test"), f"hearing {corpus.name}"))
        all_predictions.append(predict(model, encoded_by(model), load_audio(audio), [corpus], of_corpus)[0])
    rng = np.random.default_rng(options.seed)
    results = []
    for corpus, predictions in zip(corpora, all_predictions, strict=True):
        of_corpus = list(predictions.clips)
        live = None
        if options.live_clips:
            drawn = [of_corpus[i] for i in sorted(rng.permutation(len(of_corpus))[: options.live_clips])]
            shown = list(progress(drawn, f"streaming {corpus.name}"))
            live = stream_clips(model, audio, shown, corpus.labels, card.window_s, card.hop_s, calibration.threshold)
        peers = {}
        if options.peers:
            peers = peer_uars(audio, split.select(corpus.clips, "train"), of_corpus, progress)
        results.append(
            corpus_result(
                corpus, predictions, calibration.temperature, calibration.threshold, options.seed, live, peers
            )
        )
        log(
            f"{corpus.name}: UAR {results[-1].uar:.3f} ({results[-1].interval[0]:.3f} to {results[-1].interval[1]:.3f})"
        )

    robustness: dict[str, float] = {}
    drawn = [test[i] for i in sorted(rng.permutation(len(test))[: options.robustness_clips])]
    if drawn:
        log(f"robustness: {len(drawn)} clips under each change")
        voices = tuple(audio[key_of(clip)] for clip in test[:: max(1, len(test) // 30)])
        robustness = unchanged_answers(model, audio, corpora, drawn, voices, options.seed)
    alarms: dict[str, float] = {}
    if options.noise_minutes:
        log(f"false alarms: {options.noise_minutes:g} minutes of each sound without a voice")
        alarms = false_alarms_per_hour(
            model, card.window_s, card.hop_s, calibration.threshold, options.noise_minutes, options.seed
        )
    return Evaluation(
        checkpoint=str(checkpoint),
        model=card.name,
        sha256=model.sha256 or "",
        seed=split.seed,
        window_s=card.window_s,
        temperature=calibration.temperature,
        threshold=calibration.threshold,
        corpora=tuple(results),
        robustness=robustness,
        robustness_clips=len(drawn),
        false_alarms_per_hour=alarms,
        noise_minutes=options.noise_minutes,
    )


def corpus_result(
    corpus: Corpus,
    predictions: Predictions,
    temperature: float,
    threshold: float,
    seed: int,
    live: LiveResult | None,
    peers: dict[str, float],
) -> CorpusResult:
    """Every number of one corpus, from uncalibrated logits that are minus infinity at labels it lacks."""
    answers, guesses = predictions.answers, predictions.guesses
    speakers = [clip.speaker for clip in predictions.clips]
    columns = [LABELS.index(label) for label in corpus.labels]
    table = confusion(answers, guesses, len(LABELS))[np.ix_(columns, columns)]
    probs = probabilities(predictions.logits, temperature)
    answered = probs.max(axis=1) >= threshold
    right = answers == guesses
    return CorpusResult(
        name=corpus.name,
        labels=corpus.labels,
        speakers=tuple(sorted(set(speakers))),
        clips=len(predictions.clips),
        uar=uar(answers, guesses),
        interval=bootstrap_interval(partial(uar_of_rows, answers, guesses), speakers, seed),
        accuracy=float(right.mean()),
        recall=tuple(recalls(table).tolist()),
        f1=tuple(f1_scores(table).tolist()),
        confusion=tuple(tuple(row) for row in table.tolist()),
        of_speakers=_of_speakers(predictions.clips, answers, guesses),
        reliability=reliability(probs, answers),
        answered=float(answered.mean()),
        answered_accuracy=float(right[answered].mean()) if answered.any() else float("nan"),
        live=live,
        peers=peers,
    )


def _of_speakers(clips: Sequence[Clip], answers: Any, guesses: Any) -> dict[str, float]:
    names = np.array([speaker_of(clip) for clip in clips])
    return {str(name): uar(answers[names == name], guesses[names == name]) for name in np.unique(names)}
