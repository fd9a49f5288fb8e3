"""How fast `embed` is, beside what a script written by hand with the encodec package would reach in the same run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch

from streamer.analysis.cache import RowCache
from streamer.analysis.embed import embed_recordings
from streamer.analysis.embedder import Embedder, EmbedSettings
from streamer.analysis.models import EmbeddingModel
from streamer.analysis.recordings import find_recordings
from streamer.codec import Encoder, import_encodec
from streamer.rates import SAMPLE_RATE

HAND_BATCHES = (1, 2, 4, 8, 16)  # the batch sizes a careful script would try
HAND_SECONDS = 2.5  # all recordings of its batches are this long: nothing is wasted on padding
CLIP_SECONDS = (2.0, 3.0)


@dataclass(frozen=True, slots=True)
class EmbedSpeed:
    """Seconds of sound for each second of time; the best of all rounds."""

    embed: float  # recordings of 2 to 3 s from disk to rows
    by_hand: dict[int, float]  # batch size to speed of encodec's encoder over full-length batches that are in memory

    @property
    def share(self) -> float:
        """Of the best that a script written by hand reaches."""
        return self.embed / max(self.by_hand.values())


class _Nobody:
    """Watches no progress."""

    def begin(self, seconds: float) -> None:
        pass

    def advance(self, seconds: float) -> None:
        pass


def measure_embed_speed(clips: int = 24, rounds: int = 3, clock: Callable[[], float] = time.perf_counter) -> EmbedSpeed:
    """Embeds `clips` recordings of noise, and runs encodec's encoder over as many seconds, turn by turn.

    The caller chooses the number of threads. Both have the same random weights, and neither does without anything.
    """
    hand = import_encodec().EncodecModel.encodec_model_24khz(pretrained=False)
    model = EmbeddingModel("random", "", Encoder.from_encodec(hand).eval(), None, None, levelled=False)
    embedder = Embedder(model, EmbedSettings())
    best_embed, by_hand = 0.0, dict.fromkeys(HAND_BATCHES, 0.0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        seconds = _write_clips(folder, clips)
        recordings = find_recordings([folder])
        for turn in range(rounds + 1):  # the first warms up
            begin = clock()
            with RowCache(folder / f"cache{turn}", embedder.key) as cache:
                embed_recordings(recordings, embedder, cache, _Nobody())
            best_embed = max(best_embed, seconds / (clock() - begin))
            for size in HAND_BATCHES:
                by_hand[size] = max(by_hand[size], _by_hand(hand, size, clips, clock))
    return EmbedSpeed(best_embed, by_hand)


def _write_clips(folder: Path, clips: int) -> float:
    """Noise of 2 to 3 s as WAV; returns how many seconds there are."""
    random = np.random.default_rng(0)
    lengths = random.uniform(*CLIP_SECONDS, clips)
    for place, length in enumerate(lengths):
        samples = 0.05 * random.normal(size=round(length * SAMPLE_RATE))
        soundfile.write(folder / f"{place}.wav", samples, SAMPLE_RATE)
    return float(lengths.sum())


@torch.inference_mode()
def _by_hand(model: Any, size: int, clips: int, clock: Callable[[], float]) -> float:
    batch = 0.05 * torch.randn(size, 1, round(HAND_SECONDS * SAMPLE_RATE))
    repeats = max(1, clips // size // 2)
    begin = clock()
    for _ in range(repeats):
        model.encoder(batch)
    return repeats * size * HAND_SECONDS / (clock() - begin)
