"""Turn chunks of audio into classified windows, batched over streams; no threads, no clocks.

One row a stream. Each row's audio passes the front end (high-pass and level normaliser), the streaming encoder, the
sliding window and the classifier; voice activity is detected beside it. Every sample is encoded once. Positions count
from the row's last reset, in samples at 24 kHz. All counters are kept in host memory: where the model runs on a GPU,
`step` waits for it once, at its end, for the probabilities.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from streamer.arrays import Samples
from streamer.codec import StreamingEncoder
from streamer.constants import EMBEDDING_DIM, FRAME_RATE, FRAME_SAMPLES, STARTUP_FRAMES, STARTUP_SAMPLES
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.pooling import SlidingWindow
from streamer.emotion.stream_classifier import StreamClassifier
from streamer.pipeline.blocks import cuts, mask_of, stack
from streamer.pipeline.hearing import Hearing, Row
from streamer.pipeline.windows import InferenceSettings, WindowResult

Stage = Literal["encode begins", "encode ends"]
OnStage = Callable[[Stage], None]


class _PooledWindow(NamedTuple):
    """A window that was pooled; its probabilities are still on the model's device."""

    row: int
    end: int
    frames: int
    speech: float
    skipped: int


# [N, labels + W + 1] for N windows: probabilities, attention, the distance of the stream. Then the attentive means
# [N, 128], if any row wants them.
_Pending = list[tuple[list[_PooledWindow], Tensor]]


class Inference:
    """The model and the contiguous state of all rows. Not thread-safe: one worker owns it.

    Args:
        model: moved to `device`.
        rows: number of streams at first, as rows 0, 1, …; `add` and `remove` change it.
        settings: window, hop, precision and voice activity.
        device: as torch names it.
        on_stage: called when the encoder begins and ends, in the caller's thread; for profilers. May be set later.
    """

    def __init__(
        self,
        model: EmotionDetectionModel,
        rows: int,
        settings: InferenceSettings,
        *,
        device: str = "cpu",
        on_stage: OnStage | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.on_stage = on_stage
        self._hearing = Hearing(rows, settings, model.highpass_hz)
        self._rows = self._hearing.rows
        self._encoder = StreamingEncoder(model.encoder, self._capacity)
        if settings.encoder_dtype != torch.float32:
            self._encoder.to(settings.encoder_dtype)
        self._window = SlidingWindow(model.pooling, self._capacity, settings.window_frames)
        self._classifier = StreamClassifier(self.model, self._capacity)

    @property
    def settings(self) -> InferenceSettings:
        """How streams are encoded and cut into windows now."""
        return self._hearing.settings

    @property
    def caught_up(self) -> bool:
        """Whether the newest step encoded audio that was kept while its row rested."""
        return self._hearing.caught_up

    @property
    def _capacity(self) -> int:
        return self._hearing.capacity

    @torch.inference_mode()
    def warm_up(self, most_hops: int = 1) -> None:
        """Run every shape once on silence, so that the first real window is not the slowest; then reset all rows.

        Args:
            most_hops: of the largest step to come. It takes its memory now, and not when the machine is behind.
        """
        hop_frames = self.settings.hop_frames
        self._encoder.prepare(hop_frames * FRAME_SAMPLES)
        lent = None if self._rows else self.add()  # without a row nothing would be warmed up
        for frames in (*[max(hop_frames, STARTUP_FRAMES)] * 3, most_hops * hop_frames):
            self.step(dict.fromkeys(self._rows, np.zeros(frames * FRAME_SAMPLES, dtype=np.float32)))
        for row in self._rows:
            self.reset(row)
        if lent is not None:
            self.remove(lent)

    def release_weights(self) -> None:
        """Free the encoder's plain weights, those of the model too, where packed copies are used: on the CPU."""
        if self.device.type == "cpu":
            self._encoder.release_weights()
            self.model.encoder.release()

    def add(self) -> int:
        """Return a fresh row for one more stream; the state of the other rows stays as it is.

        Where no row is free their number doubles, and the state of all is copied once.
        """
        before = self._capacity
        row = self._hearing.add()
        if self._capacity > before:
            for part in (self._encoder, self._window, self._classifier):
                part.grow(self._capacity)
        self.reset(row)
        self.forget_history(row)
        return row

    def configure(self, vad_threshold: float, min_speech: float) -> None:
        """Have these thresholds from the next step on; all state stays as it is.

        Raises:
            ValueError: `vad_threshold` is not within (0.15, 1].
        """
        self._hearing.configure(vad_threshold, min_speech)

    def remove(self, row: int) -> None:
        """Free the row: it costs nothing from now on, and `add` may give it to another stream."""
        self._hearing.remove(row)
        self.set_profile_offset(row, None)

    def set_profile_offset(self, row: int, offset: Sequence[float] | None) -> None:
        """Subtract `offset` [128] from the attentive means of `row` from now on, across resets; None: nothing.

        Where the checkpoint has a history it is what the row's history begins with.
        """
        self._classifier.set_voice(row, offset)

    def forget_history(self, row: int) -> None:
        """Forget the voice and the room that `row` has heard; resets alone leave them."""
        self._classifier.forget(row)

    def include_embedding(self, row: int, enabled: bool) -> None:
        """Enable or disable embeddings in the results of `row`."""
        self._rows[row].with_embedding = enabled

    def reset(self, row: int) -> None:
        """Reset all state of `row`: what comes next does not continue what came before."""
        self._hearing.reset(row)
        mask = mask_of([row], self._capacity)
        self._encoder.reset(mask)
        self._window.reset(mask)

    @torch.inference_mode()
    def step(self, audio: Mapping[int, Samples], *, newest_only: Collection[int] = ()) -> list[WindowResult]:
        """Process the next samples of each row and return the windows that they complete.

        A window ends at every whole multiple of the hop.

        Args:
            audio: row to samples, [n] float32 at 24 kHz, any n.
            newest_only: rows of which only the newest window is classified, because the worker is behind; its result
                counts those skipped before it.
        """
        results = self._read(self._encode_windows(self._hearing.step(audio), newest_only))
        return results + [result for row in audio for result in self._hearing.silent_windows(row)]

    @torch.inference_mode()
    def flush(self, row: int) -> WindowResult | None:
        """End a row: encode the rest of it and return the window that ends with its last sample, if that is new."""
        state = self._rows[row]
        if state.samples == state.emitted:
            return None
        if state.rest.backlog.samples:
            if not self._hearing.has_enough_speech(row, state.samples):
                return self._hearing.silent_window(row, state.samples)
            self._read(self._encode_windows(self._hearing.rest_of(row), ()))
        frames = self._encoder.flush(mask_of([row], self._capacity))
        counts = self._encoder.frame_counts
        self._window.push(frames, counts)
        state.frames += int(counts[row])
        return self._read([self._classify([row], [state.samples])])[0]

    def _encode_windows(self, levelled: Mapping[int, Samples], newest_only: Collection[int]) -> _Pending:
        """Encode the next levelled audio of each row, and return the windows that it completes."""
        pending: _Pending = []
        for rows, begin, end in cuts(levelled, self.settings.hop_frames * FRAME_SAMPLES):
            block = stack(levelled, rows, begin, end, self._capacity)  # [B, S]
            # No mask where every row takes part: the encoder has a shorter way for that.
            mask = None if len(rows) == self._capacity else mask_of(rows, self._capacity)
            frames = self._encode(torch.from_numpy(block)[:, None], mask)  # [B, 128, F]
            self._slide(frames, newest_only, pending)
        return pending

    def _encode(self, audio: Tensor, mask: Tensor | None) -> Tensor:
        """`[B, 1, S]` to frames `[B, 128, F]`, between the two stages that `on_stage` learns of."""
        if self.on_stage is None:
            return self._encoder.step(audio, mask)
        self.on_stage("encode begins")
        frames = self._encoder.step(audio, mask)
        self.on_stage("encode ends")
        return frames

    def _slide(self, frames: Tensor, newest_only: Collection[int], pending: _Pending) -> None:
        """Push each row's new frames up to one hop boundary after another, and classify at those that are wanted."""
        hop_frames = self.settings.hop_frames
        left = self._encoder.frame_counts.tolist()
        taken = [0] * len(left)
        while any(left):
            parts = [0] * len(left)
            for i, row in self._rows.items():
                parts[i] = min(left[i], hop_frames - row.frames % hop_frames)
                row.frames += parts[i]
                left[i] -= parts[i]
            self._window.push(frames, torch.tensor(parts), torch.tensor(taken))
            taken = [t + part for t, part in zip(taken, parts, strict=True)]
            # Where a row catches up, the windows that were due before are out already.
            ending = [i for i, part in enumerate(parts) if part and self._ends_new_window(self._rows[i])]
            wanted = [i for i in ending if i not in newest_only or self._is_newest(self._rows[i])]
            for i in set(ending) - set(wanted):
                self._rows[i].skipped += 1
                self._rows[i].emitted = self._rows[i].frames * FRAME_SAMPLES
            if wanted:
                pending.append(self._classify(wanted, [self._rows[i].frames * FRAME_SAMPLES for i in wanted]))

    def _ends_new_window(self, row: Row) -> bool:
        return row.frames % self.settings.hop_frames == 0 and row.frames * FRAME_SAMPLES > row.emitted

    def _is_newest(self, row: Row) -> bool:
        """Return whether no further window ends within the samples that the row has received."""
        frames = row.samples // FRAME_SAMPLES if row.samples >= STARTUP_SAMPLES else 0
        return frames - row.frames < self.settings.hop_frames

    def _classify(self, rows: Sequence[int], ends: Sequence[int]) -> tuple[list[_PooledWindow], Tensor]:
        pooled, attention = self._window.pool_only(rows)  # [N, 640], [N, W]
        logits, distances = self._classifier.classify(pooled, rows)  # [N, labels], [N, 1]
        values = [torch.softmax(logits.float(), dim=-1), attention.float(), distances.float()]
        if any(row.with_embedding for row in self._rows.values()):
            values.append(pooled[:, :EMBEDDING_DIM].float())
        windows = []
        for i, end in zip(rows, ends, strict=True):
            row = self._rows[i]
            filled = min(row.frames, self.settings.window_frames)
            speech = row.vad.share(max(0, end - filled * FRAME_SAMPLES), end)
            windows.append(_PooledWindow(i, end, filled, speech, row.skipped))
            row.emitted, row.skipped = end, 0
        self._remember(windows, pooled)
        return windows, torch.cat(values, dim=1)

    def _remember(self, windows: Sequence[_PooledWindow], pooled: Tensor) -> None:
        """Take the full windows of speech among `windows` into their rows' histories; `pooled: [N, 640]`."""
        settings = self.settings
        full = [
            place
            for place, window in enumerate(windows)
            if window.frames == settings.window_frames and window.speech >= settings.min_speech
        ]
        hop_s = settings.hop_frames / FRAME_RATE
        rows = [windows[place].row for place in full]
        self._classifier.remember(rows, pooled[full], [hop_s * (1 + windows[place].skipped) for place in full])

    def _read(self, pending: _Pending) -> list[WindowResult]:
        """Return the pending windows with their probabilities; only here does the host wait for the model's device."""
        if not pending:
            return []
        values = iter(torch.cat([values for _, values in pending]).tolist())
        labels = len(self.model.labels)
        attention_end = labels + self.settings.window_frames  # then the distance, then the embedding
        results = [
            WindowResult(
                row=window.row,
                end=window.end,
                frames=window.frames,
                probs=tuple(figures[:labels]) if window.speech >= self.settings.min_speech else None,
                attention=tuple(figures[attention_end - window.frames : attention_end]),
                speech=window.speech,
                skipped=window.skipped,
                embedding=tuple(figures[attention_end + 1 :]) if self._rows[window.row].with_embedding else None,
                familiarity=self._classifier.familiarity(window.row, figures[attention_end]),
            )
            for windows, _ in pending
            for window, figures in zip(windows, values, strict=False)
        ]
        for result in results:
            self._rows[result.row].familiarity = result.familiarity
        return results
