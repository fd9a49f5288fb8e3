"""From chunks of audio to classified windows, batched over streams; no threads, no clocks.

One row a stream. Each row's audio passes the level normaliser, the streaming encoder, the sliding window and the
classifier; voice activity is heard beside it. Every sample is encoded once. Positions are counted from the row's last
reset, in samples at 24 kHz.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from streamer.audio.level import LevelNormalizer
from streamer.audio.voice import VoiceDetector
from streamer.codec import StreamingEncoder
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.pooling import SlidingWindow
from streamer.errors import UsageError
from streamer.rates import EMBEDDING_DIM, HOP, STARTUP_FRAMES

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Heard:
    """One window of one row."""

    row: int
    end: int  # samples since the row's reset, after the window's last one
    frames: int  # how many the window holds; less than the window's length while it fills
    probs: tuple[float, ...] | None  # in label order; None where too little of the window is voice
    attention: tuple[float, ...]  # [frames] weights, oldest first, summing to 1
    speech: float  # share of the window with voice
    skipped: int = 0  # windows left out directly before this one


@dataclass(slots=True)
class _Row:
    """How far one row has come since its reset."""

    samples: int = 0
    frames: int = 0
    classified: int = 0  # frames up to the end of the newest window


class Inference:
    """The model and the state of all rows. Not thread-safe: one worker owns it."""

    def __init__(
        self,
        model: EmotionDetectionModel,
        rows: int,
        *,
        window_frames: int,
        hop_frames: int,
        device: str = "cpu",
        voice_threshold: float = 0.5,
        min_speech: float = 0.25,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.hop_frames = hop_frames
        self.window_frames = window_frames
        self.min_speech = min_speech
        self._rows = [_Row() for _ in range(rows)]
        self._level = LevelNormalizer(batch_size=rows)
        self._voices = [VoiceDetector(enter=voice_threshold) for _ in range(rows)]
        self._encoder = StreamingEncoder(model.encoder, batch_size=rows)
        self._window = SlidingWindow(model.pooling, batch_size=rows, window_frames=window_frames)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run every shape once on silence, so that the first real window is not the slowest; then forget it."""
        everyone = range(len(self._rows))
        silence = np.zeros(max(self.hop_frames, STARTUP_FRAMES) * HOP, dtype=np.float32)
        for _ in range(3):
            self.hear(dict.fromkeys(everyone, silence))
        for row in everyone:
            self.reset(row)

    def reset(self, row: int) -> None:
        """Forget the row's past: what comes next is not its continuation."""
        mask = self._mask([row])
        self._rows[row] = _Row()
        self._level.reset(mask.numpy())
        self._voices[row].reset()
        self._encoder.reset(mask.to(self.device))
        self._window.reset(mask.to(self.device))

    @torch.inference_mode()
    def hear(self, audio: Mapping[int, Samples], *, every: bool = True) -> list[Heard]:
        """Take in each row's next samples ([n] float32 at 24 kHz, any n) and give the windows that they complete.

        A window ends at every whole multiple of the hop. With `every` false only the newest of each row is classified,
        for when the worker is behind; the ones left out are the caller's to count.
        """
        heard: list[Heard] = []
        for rows in _by_length(audio):
            block = np.zeros((len(self._rows), len(audio[rows[0]])), dtype=np.float32)  # [B, S]
            for row in rows:
                block[row] = audio[row]
                self._rows[row].samples += block.shape[1]
            mask = self._mask(rows)
            levelled = self._level.step(block, mask.numpy())  # [B, S]
            for row in rows:
                self._voices[row].step(levelled[row])
            frames = self._encoder.step(
                torch.from_numpy(levelled).to(self.device)[:, None, :], mask.to(self.device)
            )  # [B, 128, F]
            heard += self._slide(frames, self._encoder.frame_counts, every=every)
        return heard

    @torch.inference_mode()
    def finish(self, row: int) -> Heard | None:
        """End a row: encode what is left of it and give the window that ends with its last sample, if that is new."""
        mask = self._mask([row]).to(self.device)
        frames = self._encoder.flush(mask)
        counts = self._encoder.frame_counts
        self._window.push(frames, counts.to(self.device))
        self._rows[row].frames += int(counts[row])
        if self._rows[row].frames == self._rows[row].classified:
            return None
        return self._classify([row], [self._rows[row].samples])[0]

    def _slide(self, frames: torch.Tensor, counts: torch.Tensor, *, every: bool) -> list[Heard]:
        """Push each row's new frames up to one hop boundary after another, and classify at those that are wanted."""
        heard: list[Heard] = []
        left = counts.tolist()
        taken, skipped = [0] * len(left), [0] * len(left)
        while any(left):
            parts = [
                min(n, self.hop_frames - row.frames % self.hop_frames) for n, row in zip(left, self._rows, strict=True)
            ]
            piece = frames.new_zeros((len(left), EMBEDDING_DIM, max(parts)))  # [B, 128, F']
            for i, part in enumerate(parts):
                piece[i, :, :part] = frames[i, :, taken[i] : taken[i] + part]
                taken[i] += part
                left[i] -= part
                self._rows[i].frames += part
            self._window.push(piece, torch.tensor(parts, device=self.device))
            ending = [i for i, part in enumerate(parts) if part and self._rows[i].frames % self.hop_frames == 0]
            wanted = [i for i in ending if every or left[i] < self.hop_frames]
            for i in set(ending) - set(wanted):
                skipped[i] += 1
            if wanted:
                windows = self._classify(wanted, [self._rows[i].frames * HOP for i in wanted])
                heard += [replace(window, skipped=skipped[window.row]) for window in windows]
        return heard

    def _classify(self, rows: Sequence[int], ends: Sequence[int]) -> list[Heard]:
        mask = self._mask(rows).to(self.device)
        pooled, weights = self._window.pool(mask)  # [B, 256], [B, W]
        logits = self.model.classify(pooled[list(rows)])  # [rows, labels]
        probs, attention = torch.softmax(logits.float(), dim=-1).cpu(), weights[list(rows)].float().cpu()
        heard = []
        for i, (row, end) in enumerate(zip(rows, ends, strict=True)):
            self._rows[row].classified = self._rows[row].frames
            filled = min(self._rows[row].frames, self.window_frames)
            speech = self._voices[row].share(max(0, end - filled * HOP), end)
            heard.append(
                Heard(
                    row=row,
                    end=end,
                    frames=filled,
                    probs=tuple(probs[i].tolist()) if speech >= self.min_speech else None,
                    attention=tuple(attention[i, -filled:].tolist()),
                    speech=speech,
                )
            )
        return heard

    def _mask(self, rows: Sequence[int]) -> torch.Tensor:
        mask = torch.zeros(len(self._rows), dtype=torch.bool)
        mask[list(rows)] = True
        return mask


def _by_length(audio: Mapping[int, Samples]) -> list[list[int]]:
    """Rows that bring equally many samples go through the encoder together."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row, samples in audio.items():
        if len(samples):
            groups[len(samples)].append(row)
    return list(groups.values())


def choose_device(wanted: str) -> str:
    """`auto` is CUDA where there is one, else Apple's MPS, else the CPU; anything else is taken at its word.

    Raises:
        UsageError: the device asked for is not there.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"model.device = {wanted!r}: torch finds no CUDA GPU here; use --device auto or cpu.")
    if wanted.startswith("cuda:") and int(wanted[5:]) >= torch.cuda.device_count():
        raise UsageError(
            f"model.device = {wanted!r}: there are only {torch.cuda.device_count()} CUDA GPUs, from cuda:0."
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UsageError("model.device = 'mps': torch finds no Apple GPU here; use --device auto or cpu.")
    return wanted
