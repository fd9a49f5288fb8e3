"""What audio passes before the encoder: the high-pass that the checkpoint's card names, then the level normaliser.

The worker, training, evaluation and `EmotionDetectionModel` all run this, so a model never gets a signal that it was
not trained on.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamer.arrays import Float32Array, Samples
from streamer.audio.highpass import HighPass
from streamer.audio.level import LEVEL_VERSION, LevelNormalizer
from streamer.constants import FRAME_SAMPLES

Mask = npt.NDArray[np.bool_]


class FrontEnd:
    """Prepares streams of 24 kHz mono audio for the encoder, each by itself; causal.

    Args:
        batch_size: number of streams.
        highpass_hz: cutoff of the high-pass; None: there is none.
    """

    def __init__(self, batch_size: int = 1, highpass_hz: float | None = None) -> None:
        self.level = LevelNormalizer(batch_size)
        self.highpass = None if highpass_hz is None else HighPass(batch_size, highpass_hz)

    def reset(self, mask: Mask | None = None) -> None:
        """Reset the streams in `mask` [B], or all of them without one."""
        self.level.reset(mask)
        if self.highpass is not None:
            self.highpass.reset(mask)

    def grow(self, batch_size: int) -> None:
        """Make room for more streams, `batch_size` in all: the new ones are fresh, the others stay as they are."""
        self.level.grow(batch_size)
        if self.highpass is not None:
            self.highpass.grow(batch_size)

    def step(self, audio: Samples, mask: Mask | None = None) -> Samples:
        """Prepare the next samples of every stream: [B, S] float32 to [B, S] float32 in [-1, 1].

        A stream outside `mask` ([B] bool) keeps its state untouched and gets zeros.
        """
        return self.level.step(audio if self.highpass is None else self.highpass.step(audio, mask), mask)


def front_end_identity(highpass_hz: float | None) -> tuple[float, ...]:
    """Return what names of stored features must hold: the level law's version, and the cutoff where there is one."""
    return (LEVEL_VERSION,) if highpass_hz is None else (LEVEL_VERSION, highpass_hz)


def normalize(audio: Samples, highpass_hz: float | None = None) -> Samples:
    """Prepare whole recordings, [B, T] float32, each as a stream of its own: `FrontEnd` with fresh state."""
    return FrontEnd(audio.shape[0], highpass_hz).step(audio)


def normalize_batch(
    recordings: Sequence[Samples], highpass_hz: float | None = None, before: Sequence[Samples] | None = None
) -> tuple[Float32Array, list[int]]:
    """Prepare whole recordings of different lengths, each as a stream of its own.

    Args:
        recordings: B times [t] float32 at 24 kHz.
        highpass_hz: cutoff of the high-pass; None: there is none.
        before: what each stream heard before, [t] of any length, a multiple of FRAME_SAMPLES; None: nothing.

    Returns:
        [B, T] float32, T the whole frames of the longest recording in samples, shorter rows padded with zeros; and the
        number of frames of each row. A recording shorter than a frame is padded to one frame.
    """
    if before is not None:
        return _normalize_after(before, recordings, highpass_hz)
    frames = [max(1, len(audio) // FRAME_SAMPLES) for audio in recordings]
    padded = np.zeros((len(recordings), max(frames) * FRAME_SAMPLES), dtype=np.float32)
    for row, audio, count in zip(padded, recordings, frames, strict=True):
        kept = audio[: count * FRAME_SAMPLES]
        row[: len(kept)] = kept
    return normalize(padded, highpass_hz), frames


def _normalize_after(
    before: Sequence[Samples], recordings: Sequence[Samples], highpass_hz: float | None
) -> tuple[Float32Array, list[int]]:
    both = [np.concatenate(parts) for parts in zip(before, recordings, strict=True)]
    whole, totals = normalize_batch(both, highpass_hz)
    frames = [max(1, total - len(one) // FRAME_SAMPLES) for total, one in zip(totals, before, strict=True)]
    padded = np.zeros((len(frames), max(frames) * FRAME_SAMPLES), dtype=np.float32)
    for row, levelled, one, count in zip(padded, whole, before, frames, strict=True):
        kept = levelled[len(one) :][: count * FRAME_SAMPLES]
        row[: len(kept)] = kept
    return padded, frames
