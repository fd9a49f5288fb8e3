"""Refit the linear head on all speakers, with the encoder frozen (`streamer train --final`).

Embeddings of speakers that the encoder was trained on differ from those of other speakers. A head for unknown speakers
should therefore be fitted to speakers that the encoder was not trained on, too. Held-out speakers are still scored
without leakage: for each, the head is refitted with that speaker left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamer.constants import FRAME_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import babble_keys
from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.corpora.splits import Split, describe_split, pin_known_speakers, speakers_known_to, split_speakers
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import CheckpointCard
from streamer.emotion.labels import LABELS
from streamer.errors import UsageError
from streamer.progress import Progress, Reporter
from streamer.training.batches import Windows
from streamer.training.export import EvaluatedModel, Provenance, export_checkpoint
from streamer.training.head import PooledWindows, fit_head
from streamer.training.neutral_mean import neutral_mean
from streamer.training.pooled_windows import HARD_TARGETS, LONGEST_S, PoolingPlan, pool_windows, pooled_store
from streamer.training.predict import ClipEncoder, Predictions, classify_clips
from streamer.training.recipe import Recipe
from streamer.training.validation import WINDOWS_S, calibrate_windows
from streamer.training.windows import AudioWindows

_SCORED_BY = "each by a head fitted to all other speakers"


def refit_head(
    corpora: Sequence[Corpus],
    recipe: Recipe,
    checkpoint: str | Path,
    work: Path,
    output: Path,
    device: torch.device,
    reporter: Reporter,
) -> Path:
    """Write a checkpoint with the encoder of another one, and a head fitted to all speakers.

    Args:
        corpora: the data. The checkpoint's validation speakers calibrate the head, and those that it does not know
            score it.
        recipe: its seed, head_steps, augmentation (but for the pace), share of non-speech, and as versions the number
            of draws of each clip.
        checkpoint: `measured`, or a file.
        work: folder of the caches; an interrupted fit goes on from them.
        output: the file to write.
        device: where to compute.
        reporter: takes lines of text, and shows progress.

    Returns:
        `output`.

    Raises:
        UsageError: the checkpoint's card lists no speakers, or none that were held out, or other labels; the recipe has
            no head steps; or a corpus is too small to split.
        CheckpointError: the checkpoint cannot be read.
        StreamerError: a recording cannot be read.
    """
    if not recipe.head_steps:
        raise UsageError("Refitting the head needs steps; head_steps is 0, use 1 or more.")
    model = EmotionDetectionModel.from_checkpoint(checkpoint).to(device)
    card, split = _card_and_split(model, corpora, recipe.seed, checkpoint)
    reporter.log(describe_split(split, corpora))
    audio = AudioStore(work)
    audio.prepare(clips_of(corpora), reporter.progress)
    encoder = ClipEncoder.from_audio(model, audio)
    windows = _pool(encoder, corpora, recipe, work, audio, split, reporter.progress)
    scoring = _LeaveOneSpeakerOut(encoder, windows, corpora, recipe)
    train, validation, test = (split.select(clips_of(corpora), part) for part in ("train", "validation", "test"))
    calibrations = calibrate_windows(scoring.predict(validation, WINDOWS_S, reporter.progress))
    tested = scoring.predict(test, [None], reporter.progress)[0]
    fit_head(model, windows, recipe.head_steps, recipe.seed)
    everyone = split.together()
    evaluated = EvaluatedModel(
        model=model,
        calibrations=calibrations,
        tested=tested,
        neutral_mean=neutral_mean(encoder, train),
        notes=_notes(card, recipe, len(everyone.train)),
        scored_by=_SCORED_BY,
    )
    return export_checkpoint(evaluated, Provenance(corpora, everyone, card), output, reporter.log)


def _card_and_split(
    model: EmotionDetectionModel, corpora: Sequence[Corpus], seed: int, checkpoint: str | Path
) -> tuple[CheckpointCard, Split]:
    """Return the checkpoint's card, and the parts of all speakers; those that it does not know test."""
    card = model.card
    known = speakers_known_to(card, checkpoint)
    assert card is not None, "whose speakers are known has a card"
    if tuple(card.labels) != LABELS:
        raise UsageError(f"{checkpoint} has other labels than {', '.join(LABELS)}; give another checkpoint.")
    split = pin_known_speakers(split_speakers(corpora, seed), known, "test")
    names = ", ".join(corpus.name for corpus in corpora)
    for part, purpose in (("validation", "calibrate"), ("test", "score")):
        if not getattr(split, part):
            raise UsageError(
                f"{checkpoint} has held out no speaker of {names} to {purpose} a head with; "
                "give a checkpoint that has, as measured."
            )
    return card, split


def _pool(
    encoder: ClipEncoder,
    corpora: Sequence[Corpus],
    recipe: Recipe,
    work: Path,
    audio: AudioStore,
    split: Split,
    progress: Progress[Any],
) -> PooledWindows:
    """Pool windows of all clips so that no held-out speaker affects the windows of another speaker.

    Therefore there is no teacher, whose probes are fitted to labels, and babble and the balanced mean of the neutral
    embeddings are of the training speakers.
    """
    clips = clips_of(corpora)
    babble = babble_keys(split.select(clips, "train"))
    source = AudioWindows(audio, recipe.augmentation, babble, encoder.model.highpass_hz)
    windows = Windows(corpora, source, None, HARD_TARGETS, round(LONGEST_S * FRAME_RATE), delay_s=0.0)
    store = pooled_store(work, encoder.model, recipe, clips, babble)
    plan = PoolingPlan(recipe.seed, recipe.non_speech, recipe.versions, frozenset(split.train))
    return pool_windows(encoder, windows, clips, plan, store, progress)


@dataclass(frozen=True)
class _LeaveOneSpeakerOut:
    """Predicts the clips of each speaker with a head fitted to the windows of all others."""

    encoder: ClipEncoder  # its model's head is replaced again and again
    windows: PooledWindows
    corpora: Sequence[Corpus]
    recipe: Recipe

    def predict(
        self, clips: Sequence[Clip], windows_s: Sequence[float | None], progress: Progress[Any]
    ) -> list[Predictions]:
        """Classify W windows of each clip: `ClipEncoder.predict_windows`, with a head for each speaker."""
        model, recipe = self.encoder.model, self.recipe
        pooled = self.encoder.pooled_windows(clips, windows_s)  # [W, N, 640]
        logits = np.empty((len(windows_s), len(clips), len(LABELS)))
        speakers = np.array([clip.speaker_id for clip in clips])
        for speaker in progress(sorted(set(speakers.tolist())), "leaving one speaker out"):
            fit_head(model, self.windows.without(speaker), recipe.head_steps, recipe.seed)
            rows = np.flatnonzero(speakers == speaker)
            own = [clips[row] for row in rows.tolist()]
            for place, of_length in enumerate(pooled):
                logits[place, rows] = classify_clips(model, self.corpora, own, of_length[rows]).logits
        return [Predictions(tuple(clips), of_length) for of_length in logits]


def _notes(card: CheckpointCard, recipe: Recipe, speakers: int) -> str:
    return (
        f"The encoder is {card.name}'s. The head was fitted to all {speakers} speakers ({recipe.versions} versions of "
        f"each clip, {recipe.head_steps} steps, seed {recipe.seed}); temperature, threshold and metrics come from "
        "validation and test speakers that the encoder was not trained on, each scored by a head fitted to all "
        "other speakers. "
        f"Of {card.name}: {card.notes}"
    )
