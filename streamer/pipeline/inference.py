"""From chunks of audio to classified windows, batched over streams; no threads, no clocks.

One row a stream. Each row's audio passes the level normaliser, the streaming encoder, the sliding window and the
classifier; voice activity is heard beside it. Every sample is encoded once. Positions are counted from the row's last
reset, in samples at 24 kHz. What is counted is counted in host memory: where the model runs on a GPU, `step` waits for
it once, at its end, for the probabilities.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from streamer.arrays import Samples
from streamer.audio.level import LevelNormalizer
from streamer.audio.vad import VoiceActivityDetector, step_together
from streamer.codec import StreamingEncoder
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES, STARTUP_FRAMES, STARTUP_SAMPLES
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.pooling import SlidingWindow
from streamer.emotion.shift import VoiceShifts


@dataclass(frozen=True, slots=True)
class WindowResult:
    """One window of one row."""

    row: int
    end: int  # samples since the row's reset, after the window's last one
    frames: int  # how many the window holds; less than the window's length while it fills
    probs: tuple[float, ...] | None  # in label order; None where too little of the window is voice
    attention: tuple[float, ...]  # [frames] weights, oldest first, summing to 1
    speech: float  # share of the window with voice
    skipped: int = 0  # windows left out directly before this one
    embedding: tuple[float, ...] | None = None  # [128] attentive mean, before any shift; where it was asked for


@dataclass(slots=True)
class _Row:
    """One stream's row: its voice activity, and how far it has come since its reset."""

    voice: VoiceActivityDetector
    samples: int = 0
    frames: int = 0
    classified: int = 0  # frames up to the end of the newest window
    skipped: int = 0  # windows left out since the newest one


class _Ended(NamedTuple):
    """A window that was pooled; its probabilities are still where the model is."""

    row: int
    end: int
    frames: int
    speech: float
    skipped: int


# [N, labels + W] for N windows: probabilities, then attention; then the attentive means [N, 128] if any are asked for.
_Pending = list[tuple[list[_Ended], Tensor]]


class Inference:
    """The model and the state of all rows, contiguous. Not thread-safe: one worker owns it.

    Args:
        model: moved to `device`.
        rows: how many streams there are at first, as rows 0, 1, …; `add` and `remove` change that.
        window_frames: frames in a full window.
        hop_frames: frames between two windows.
        device: as torch names it.
        encoder_dtype: what the encoder computes in; the rest is float32. bfloat16 is meant for accelerators.
        voice_threshold: probability from which speech begins.
        min_speech: share of a window that must be voice for its probabilities to be given.
    """

    def __init__(
        self,
        model: EmotionDetectionModel,
        rows: int,
        *,
        window_frames: int,
        hop_frames: int,
        device: str = "cpu",
        encoder_dtype: torch.dtype = torch.float32,
        voice_threshold: float = 0.5,
        min_speech: float = 0.25,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.hop_frames = hop_frames
        self.window_frames = window_frames
        self.min_speech = min_speech
        self._voice = VoiceActivityDetector(enter=voice_threshold)  # hears nothing itself
        self._rows = {row: _Row(VoiceActivityDetector(voice_threshold, like=self._voice)) for row in range(rows)}
        self._capacity = max(1, rows)
        self._level = LevelNormalizer(self._capacity)
        self._encoder = StreamingEncoder(model.encoder, self._capacity)
        if encoder_dtype != torch.float32:
            self._encoder.to(encoder_dtype)
        self._window = SlidingWindow(model.pooling, self._capacity, window_frames)
        self._shifts = VoiceShifts(self._capacity, self.device)
        self._revealed: set[int] = set()  # rows whose embeddings are asked for

    @torch.inference_mode()
    def warm_up(self, most_hops: int = 1) -> None:
        """Run every shape once on silence, so that the first real window is not the slowest; then forget it.

        Args:
            most_hops: of the largest step to come. It takes its memory now, and not when the machine is behind.
        """
        self._encoder.prepare(self.hop_frames * FRAME_SAMPLES)
        for frames in (*[max(self.hop_frames, STARTUP_FRAMES)] * 3, most_hops * self.hop_frames):
            self.step(dict.fromkeys(self._rows, np.zeros(frames * FRAME_SAMPLES, dtype=np.float32)))
        for row in self._rows:
            self.reset(row)

    def add(self) -> int:
        """A row for one more stream, fresh; the other rows go on as if nothing were.

        Where no row is free their number doubles, and the state of all is copied once.
        """
        row = next((row for row in range(self._capacity) if row not in self._rows), self._capacity)
        if row == self._capacity:
            self._capacity *= 2
            for part in (self._level, self._encoder, self._window, self._shifts):
                part.grow(self._capacity)
        self._rows[row] = _Row(VoiceActivityDetector(self._voice.enter, like=self._voice))
        self.reset(row)
        return row

    def remove(self, row: int) -> None:
        """The row's stream is over: it costs nothing from now on, and `add` may give the row to another."""
        del self._rows[row]
        self.set_profile_offset(row, None)
        self.include_embedding(row, False)

    def set_profile_offset(self, row: int, by: Sequence[float] | None) -> None:
        """Take `by`, [128], away from the attentive mean of the row's windows from now on, resets or not; None: nothing."""
        self._shifts.set(row, by)

    def include_embedding(self, row: int, wanted: bool) -> None:
        """From now on the row's windows come with their embedding, or without it."""
        (self._revealed.add if wanted else self._revealed.discard)(row)

    def reset(self, row: int) -> None:
        """Forget the row's past: what comes next is not its continuation."""
        mask = self._mask([row])
        voice = self._rows[row].voice
        voice.reset()
        self._rows[row] = _Row(voice)
        self._level.reset(mask.numpy())
        self._encoder.reset(mask)
        self._window.reset(mask)

    @torch.inference_mode()
    def step(self, audio: Mapping[int, Samples], *, newest_only: Collection[int] = ()) -> list[WindowResult]:
        """Take in each row's next samples ([n] float32 at 24 kHz, any n) and give the windows that they complete.

        A window ends at every whole multiple of the hop. Of the rows in `newest_only` only the newest window is
        classified, for when the worker is behind; it says how many were left out before it.
        """
        levelled = self._preprocess(audio)
        pending: _Pending = []
        for rows, begin, end in _cuts(levelled):
            block = np.zeros((self._capacity, end - begin), dtype=np.float32)  # [B, S]
            for row in rows:
                block[row] = levelled[row][begin:end]
            # No mask where nobody is left out: the encoder has a shorter way for that.
            mask = None if len(rows) == self._capacity else self._mask(rows)
            frames = self._encoder.step(torch.from_numpy(block)[:, None], mask)  # [B, 128, F]
            self._slide(frames, newest_only, pending)
        return self._read(pending)

    @torch.inference_mode()
    def flush(self, row: int) -> WindowResult | None:
        """End a row: encode what is left of it and give the window that ends with its last sample, if that is new."""
        frames = self._encoder.flush(self._mask([row]))
        counts = self._encoder.frame_counts
        self._window.push(frames, counts)
        self._rows[row].frames += int(counts[row])
        if self._rows[row].frames == self._rows[row].classified:
            return None
        return self._read([self._classify([row], [self._rows[row].samples])])[0]

    def _preprocess(self, audio: Mapping[int, Samples]) -> dict[int, Samples]:
        """Each row's samples levelled, as it would be alone, after its voice activity was heard in them."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, samples in audio.items():
            by_length[len(samples)].append(row)
        levelled: dict[int, Samples] = {}
        for length, rows in by_length.items():
            block = np.zeros((self._capacity, length), dtype=np.float32)  # [B, S]
            for row in rows:
                block[row] = audio[row]
            out = self._level.step(block, self._mask(rows).numpy())  # [B, S]
            for row in rows:
                levelled[row] = out[row]
                self._rows[row].samples += length
        step_together([self._rows[row].voice for row in levelled], list(levelled.values()))
        return levelled

    def _slide(self, frames: Tensor, newest_only: Collection[int], pending: _Pending) -> None:
        """Push each row's new frames up to one hop boundary after another, and classify at those that are wanted."""
        left = self._encoder.frame_counts.tolist()
        taken = [0] * len(left)
        while any(left):
            parts = [0] * len(left)
            for i, row in self._rows.items():
                parts[i] = min(left[i], self.hop_frames - row.frames % self.hop_frames)
                row.frames += parts[i]
                left[i] -= parts[i]
            self._window.push(frames, torch.tensor(parts), torch.tensor(taken))
            taken = [t + part for t, part in zip(taken, parts, strict=True)]
            ending = [i for i, part in enumerate(parts) if part and self._rows[i].frames % self.hop_frames == 0]
            wanted = [i for i in ending if i not in newest_only or self._is_newest(self._rows[i])]
            for i in set(ending) - set(wanted):
                self._rows[i].skipped += 1
            if wanted:
                pending.append(self._classify(wanted, [self._rows[i].frames * FRAME_SAMPLES for i in wanted]))

    def _is_newest(self, row: _Row) -> bool:
        """Whether no further window ends within the samples that the row has got."""
        frames = row.samples // FRAME_SAMPLES if row.samples >= STARTUP_SAMPLES else 0
        return frames - row.frames < self.hop_frames

    def _classify(self, rows: Sequence[int], ends: Sequence[int]) -> tuple[list[_Ended], Tensor]:
        pooled, attention = self._window.pool_only(rows)  # [N, 640], [N, W]
        logits = self.model.classify(self._shifts.apply(pooled, rows))  # [N, labels]
        values = [torch.softmax(logits.float(), dim=-1), attention.float()]
        if self._revealed:
            values.append(pooled[:, :EMBEDDING_DIM].float())
        windows = []
        for i, end in zip(rows, ends, strict=True):
            row = self._rows[i]
            filled = min(row.frames, self.window_frames)
            speech = row.voice.share(max(0, end - filled * FRAME_SAMPLES), end)
            windows.append(_Ended(i, end, filled, speech, row.skipped))
            row.classified, row.skipped = row.frames, 0
        return windows, torch.cat(values, dim=1)

    def _read(self, pending: _Pending) -> list[WindowResult]:
        """The windows with their probabilities: here, and only here, the host waits for the model's device."""
        if not pending:
            return []
        values = iter(torch.cat([values for _, values in pending]).tolist())
        labels = len(self.model.labels)
        inner = labels + self.window_frames  # where the embedding begins
        return [
            WindowResult(
                row=window.row,
                end=window.end,
                frames=window.frames,
                probs=tuple(figures[:labels]) if window.speech >= self.min_speech else None,
                attention=tuple(figures[inner - window.frames : inner]),
                speech=window.speech,
                skipped=window.skipped,
                embedding=tuple(figures[inner:]) if window.row in self._revealed else None,
            )
            for windows, _ in pending
            for window, figures in zip(windows, values, strict=False)
        ]

    def _mask(self, rows: Collection[int]) -> Tensor:
        mask = torch.zeros(self._capacity, dtype=torch.bool)
        mask[list(rows)] = True
        return mask


def _cuts(audio: Mapping[int, Samples]) -> Iterator[tuple[list[int], int, int]]:
    """How rows that bring differently many samples share their steps: the rows, and the samples [begin, end) of each.

    Cut at every length that occurs, each step takes all rows that reach so far. There are no more steps than lengths,
    and as few frames one after another as the longest row has: for an encoder that reads all its weights for every
    frame, a row that is late costs hardly more than the others.
    """
    begin = 0
    for end in sorted({len(samples) for samples in audio.values()} - {0}):
        yield [row for row, samples in audio.items() if len(samples) >= end], begin, end
        begin = end
