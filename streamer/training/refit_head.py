"""The final fit: on an encoder that has learnt, a classifier anew, from the speakers too whom the encoder has not heard.

An encoder says other things of speakers whom it has learnt from than of strangers, so a classifier for strangers should
have heard those too whom the encoder has not. They measure it all the same: each validation and test speaker is answered by
a classifier that has learnt from all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamer.constants import FRAME_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import talkers_of
from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.corpora.splits import (
    Split,
    describe_split,
    pin_known_speakers,
    speakers_known_to,
    split_speakers,
)
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import CheckpointCard
from streamer.emotion.labels import LABELS
from streamer.errors import UsageError
from streamer.progress import Log, Progress
from streamer.training.batches import AudioWindows, Windows
from streamer.training.export import EvaluatedModel, export_checkpoint
from streamer.training.head import LONGEST_S, TOLD, PooledWindows, PoolingPlan, fit_head, pool_windows, pooled_store
from streamer.training.neutral_mean import neutral_mean
from streamer.training.predict import ClipEncoder, Predictions, classify_clips
from streamer.training.recipe import Recipe
from streamer.training.validation import WINDOWS_S, calibrate


def refit_head(
    corpora: Sequence[Corpus],
    recipe: Recipe,
    checkpoint: str | Path,
    work: Path,
    output: Path,
    device: torch.device,
    log: Log,
    progress: Progress[Any],
) -> Path:
    """Write a checkpoint with the encoder of another one and a classifier that has learnt from all speakers.

    Args:
        corpora: to learn from. Whom the checkpoint was tuned on says how sure the answers are, whom it has not heard how
            good they are.
        recipe: its seed, settling, augmentation (but for the pace), share of sound without a voice, and as versions how
            often each clip is heard, changed anew each time.
        checkpoint: `measured`, or a file.
        work: a folder for decoded audio and pooled windows; an interrupted fit goes on from those that are there.
        output: the file to write.
        device: where to compute.
        log: takes one line at a time.
        progress: shows how far a loop is.

    Returns:
        `output`.

    Raises:
        UsageError: the checkpoint does not say whom it has heard, has left nobody out or names other labels; there are no
            settling steps; or a corpus is too small to split.
        CheckpointError: it cannot be read.
        StreamerError: a recording cannot be read.
    """
    if not recipe.settling:
        raise UsageError("A final fit learns in settling steps; settling is 0, use 1 or more.")
    model = EmotionDetectionModel.from_checkpoint(checkpoint).to(device)
    card, split = _card_and_split(model, corpora, recipe.seed, checkpoint)
    log(describe_split(split, corpora))
    audio = AudioStore(work)
    audio.prepare(clips_of(corpora), progress)
    fit = _Fit(ClipEncoder.from_audio(model, audio), corpora, recipe, work, audio)
    windows = fit.windows(frozenset(split.train), progress)
    checked, tested = (split.select(clips_of(corpora), part) for part in ("validation", "test"))
    calibrations = tuple(
        calibrate(answers, window_s)
        for answers, window_s in zip(fit.in_turn(windows, checked, WINDOWS_S, progress), WINDOWS_S, strict=True)
    )
    answers = fit.in_turn(windows, tested, [None], progress)[0]
    fit_head(model, windows, recipe.settling, recipe.seed)
    everyone = split.together()
    notes = (
        f"The encoder is {card.name}'s. The classifier learnt from all {len(everyone.train)} speakers ({recipe.versions} "
        f"versions of each clip, {recipe.settling} steps, seed {recipe.seed}); temperature, threshold and figures come from "
        "validation and test speakers, whom the encoder has not heard, each answered by a classifier that learnt from all "
        f"others. Of {card.name}: {card.notes}"
    )
    balanced_mean = neutral_mean(fit.encoder, split.select(clips_of(corpora), "train"))
    worth = EvaluatedModel(calibrations, answers, notes, "each in turn, by a classifier that learnt from all others")
    return export_checkpoint(model, corpora, card, worth, everyone, balanced_mean, output, log)


def _card_and_split(
    model: EmotionDetectionModel, corpora: Sequence[Corpus], seed: int, checkpoint: str | Path
) -> tuple[CheckpointCard, Split]:
    """What the checkpoint says of itself, and the parts of all speakers, strangers among those to test."""
    card = model.card
    known = speakers_known_to(card, checkpoint)
    assert card is not None, "whose speakers are known has a card"
    if tuple(card.labels) != LABELS:
        raise UsageError(f"{checkpoint} names other labels than {', '.join(LABELS)}; give another checkpoint.")
    split = pin_known_speakers(split_speakers(corpora, seed), known, "test")
    for part, purpose in (("validation", "tune"), ("test", "measure")):
        if not getattr(split, part):
            raise UsageError(
                f"{checkpoint} has left nobody of {', '.join(corpus.name for corpus in corpora)} out to {purpose} a "
                "classifier by; give a checkpoint that left speakers out, as measured."
            )
    return card, split


@dataclass(frozen=True)
class _Fit:
    """What classifiers learn from, and how."""

    encoder: ClipEncoder  # its model's classifier is replaced again and again
    corpora: Sequence[Corpus]
    recipe: Recipe
    work: Path
    audio: AudioStore

    def windows(self, known: frozenset[str], progress: Progress[int]) -> PooledWindows:
        """Windows of all clips, in which nothing of one left-out speaker is in another's.

        So there is no teacher, whose opinions learn from labels, and babble and the balanced_mean of neutral voices are of the
        speakers who are `known`: those of the training part.
        """
        recipe, clips = self.recipe, clips_of(self.corpora)
        talkers = talkers_of([clip for clip in clips if clip.speaker_id in known])
        inputs = AudioWindows(self.audio, recipe.augmentation, talkers, self.encoder.model.highpass_hz)
        windows = Windows(self.corpora, inputs, None, TOLD, round(LONGEST_S * FRAME_RATE), delay_s=0.0)
        store = pooled_store(self.work, self.encoder.model, recipe, clips, talkers)
        plan = PoolingPlan(recipe.seed, recipe.non_speech, recipe.versions, known)
        return pool_windows(self.encoder, windows, clips, plan, store, progress)

    def in_turn(
        self,
        windows: PooledWindows,
        clips: Sequence[Clip],
        windows_s: Sequence[float | None],
        progress: Progress[Any],
    ) -> list[Predictions]:
        """What classifiers that have not heard a clip's speaker, and all others, say of a window of each length."""
        model, recipe = self.encoder.model, self.recipe
        pooled = self.encoder.pooled_windows(clips, windows_s)  # [W, N, 640]
        logits = np.empty((len(windows_s), len(clips), len(LABELS)))
        said_by = np.array([clip.speaker_id for clip in clips])
        for speaker in progress(sorted(set(said_by.tolist())), "speakers left out in turn"):
            fit_head(model, windows.without(speaker), recipe.settling, recipe.seed)
            rows = np.flatnonzero(said_by == speaker)
            own = [clips[row] for row in rows.tolist()]
            for place, of_length in enumerate(pooled):
                logits[place, rows] = classify_clips(model, self.corpora, own, of_length[rows]).logits
        return [Predictions(tuple(clips), of_length) for of_length in logits]
