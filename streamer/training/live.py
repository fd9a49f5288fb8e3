"""What users get: clips and noise through the worker's own inference, hop by hop, and the emotions that begin."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamer.emotion import ClaimRule, EmotionDetectionModel, Observation, Tracker, TrackerSettings
from streamer.inference import Heard, Inference
from streamer.rates import FRAME_RATE, HOP, SAMPLE_RATE
from streamer.training.augment import NON_SPEECH, Samples, gain, rms
from streamer.training.corpora import LABELS, Clip
from streamer.training.losses import label_mask
from streamer.training.material import AudioStore, generator, key_of

_PIECE_S = 16
_LEVEL_DBFS = -35.0  # of noise and music: what a microphone hears of a radio in the room
SOUNDS = ("silence", "white noise", "pink noise", "music")


@dataclass(frozen=True)
class LiveResult:
    """Clips streamed one by one."""

    clips: int
    windows: int  # with enough voice to be classified
    right_windows: float  # share that names the clip's label, among the corpus's labels
    claimed_windows: float  # share at or above the threshold, all labels offered
    right_claims: float  # share of those that name the clip's label; NaN without any
    same_as_offline: float  # share of last windows with the label that the offline model gives the same audio


def stream_clips(
    model: EmotionDetectionModel,
    audio: AudioStore,
    clips: Sequence[Clip],
    labels: Sequence[str],
    window_s: float,
    hop_s: float,
    threshold: float,
) -> LiveResult:
    """Every clip as a stream of its own, in chunks of a hop, from its first sample to its last.

    Args:
        model: with the calibration of `window_s`.
        audio: the clips' recordings.
        clips: of one corpus.
        labels: which the corpus has.
        window_s: length of the windows.
        hop_s: how often one ends.
        threshold: from which confidence a label is claimed.
    """
    inference = Inference(model, 1, window_frames=round(window_s * FRAME_RATE), hop_frames=round(hop_s * FRAME_RATE))
    mask = label_mask(labels)
    right: list[bool] = []
    claims: list[bool] = []
    same: list[bool] = []
    for clip in clips:
        samples = audio[key_of(clip)]
        heard = list(_windows(inference, samples))
        for window in heard:
            if window.probs is not None:
                probs = np.asarray(window.probs)
                right.append(LABELS[int(np.where(mask, probs, -1).argmax())] == clip.label)
                if probs.max() >= threshold:
                    claims.append(LABELS[int(probs.argmax())] == clip.label)
        last = heard[-1]
        if last.probs is not None:
            same.append(int(np.argmax(last.probs)) == _offline(model, samples, last))
    return LiveResult(
        clips=len(clips),
        windows=len(right),
        right_windows=_share(right),
        claimed_windows=len(claims) / max(1, len(right)),
        right_claims=_share(claims),
        same_as_offline=_share(same),
    )


def false_alarms_per_hour(
    model: EmotionDetectionModel, window_s: float, hop_s: float, threshold: float, minutes: float, seed: int
) -> dict[str, float]:
    """Emotions that begin in an hour of sound without a voice, through inference, claim rule and tracker.

    The music is rendered by `streamer.training.augment.music`: bass, chords, melody and drums, up to 16 s a piece.
    """
    rates = {}
    for sound in SOUNDS:
        inference = Inference(
            model, 1, window_frames=round(window_s * FRAME_RATE), hop_frames=round(hop_s * FRAME_RATE)
        )
        tracker = Tracker(ClaimRule(threshold), TrackerSettings.around(threshold))
        starts = 0
        pieces = math.ceil(minutes * 60 / _PIECE_S)
        samples = round(minutes * 60 / pieces * SAMPLE_RATE)
        for number in range(pieces):
            rng = generator(seed, number, sound)
            noise = NON_SPEECH[sound](samples, rng)
            if sound != "silence":
                noise = gain(noise / np.float32(max(rms(noise), 1e-9)), _LEVEL_DBFS)
            for first in range(0, len(noise), SAMPLE_RATE):
                for window in inference.hear({0: noise[first : first + SAMPLE_RATE]}):
                    starts += _begins(tracker, window, inference.window_frames)
        rates[sound] = starts * 60 / minutes
    return rates


def _windows(inference: Inference, samples: Samples) -> Iterator[Heard]:
    """All windows of one recording, the last one ending with its last sample."""
    inference.reset(0)
    hop = inference.hop_frames * HOP
    last: Heard | None = None
    for first in range(0, len(samples), hop):
        for window in inference.hear({0: samples[first : first + hop]}):
            last = window
            yield window
    end = inference.finish(0)
    if end is not None:
        yield end
    elif last is None:
        raise ValueError("A recording without samples has no windows.")


def _offline(model: EmotionDetectionModel, samples: Samples, window: Heard) -> int:
    """The column that the offline model gives to the frames which the window holds."""
    with torch.inference_mode():
        frames = model.get_embeddings(torch.from_numpy(samples)[None, None])[:, :, -window.frames :]
        pooled, _ = model.pooling(frames)
        return int(model.classify(pooled).argmax())


def _begins(tracker: Tracker, window: Heard, full: int) -> bool:
    probs = None if window.probs is None else dict(zip(LABELS, window.probs, strict=True))
    end_s = window.end / SAMPLE_RATE
    observation = Observation(end_s, end_s, probs, window.speech, warming=window.frames < full)
    return tracker.update(observation).started is not None


def _share(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")
