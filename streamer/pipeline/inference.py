"""Turn chunks of audio into classified windows, batched over streams; no threads, no clocks.

One row a stream. Each row's audio passes the front end (high-pass and level normaliser), the streaming encoder, the
sliding window and the classifier; voice activity is detected beside it. Every sample is encoded once. Positions count
from the row's last reset, in samples at 24 kHz. All counters are kept in host memory: where the model runs on a GPU,
`step` waits for it once, at its end, for the probabilities.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from streamer.arrays import Samples
from streamer.audio.front_end import FrontEnd
from streamer.audio.silero import Kernels
from streamer.audio.vad import VoiceActivityDetector, step_together
from streamer.codec import StreamingEncoder
from streamer.codec.cpu.pack import packed_lstm, small_product
from streamer.constants import EMBEDDING_DIM, FRAME_RATE, FRAME_SAMPLES, STARTUP_FRAMES, STARTUP_SAMPLES
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.pooling import SlidingWindow
from streamer.emotion.stream_classifier import StreamClassifier
from streamer.events import Familiarity
from streamer.pipeline.rest import CATCH_UP_HOPS, Rest, RestRule, is_quiet

# Frames of all rows together that pass through the model at once, where there are more than a hop of each: memory grows
# neither with the rows that are behind nor with how far.
STEP_FRAMES = 288

Stage = Literal["encode begins", "encode ends"]
OnStage = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """How streams are encoded and cut into windows."""

    window_frames: int  # in a full window
    hop_frames: int  # between the ends of two windows
    encoder_dtype: torch.dtype = torch.float32  # the rest computes in float32; bfloat16 is meant for accelerators
    vad_threshold: float = 0.5  # probability from which speech begins
    min_speech: float = 0.25  # share of a window that must be speech for it to get probabilities
    rest: bool = False  # whether rows in which nobody speaks are not encoded


@dataclass(frozen=True, slots=True)
class WindowResult:
    """Result of one analysis window of one batch row."""

    row: int
    end: int  # samples since the row's reset, after the window's last one
    frames: int  # that the window holds; fewer than a full window's while it fills
    probs: tuple[float, ...] | None  # in label order; None where too little of the window is speech
    attention: tuple[float, ...]  # [frames] weights, oldest first, summing to 1; none while the row rests
    speech: float  # share of the window with voice activity
    skipped: int = 0  # windows left out directly before this one
    embedding: tuple[float, ...] | None = None  # [128] attentive mean before any profile offset; where enabled
    familiarity: Familiarity | None = None  # of the stream to the model; None where the checkpoint has no history
    rested: bool = False  # the row was not encoded


@dataclass(slots=True)
class _Row:
    """State of one row: its VAD, and its counters since the reset."""

    vad: VoiceActivityDetector
    samples: int = 0
    frames: int = 0
    emitted: int = 0  # position of the newest window's end, whether it was left out or not
    skipped: int = 0  # windows left out since the newest one
    familiarity: Familiarity | None = None  # of the newest window
    rest: Rest = field(default_factory=Rest)


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
        self.settings = settings
        self.on_stage = on_stage
        # Never stepped: the rows' detectors share its network.
        self._vad = VoiceActivityDetector(settings.vad_threshold, kernels=Kernels(small_product, packed_lstm))
        self._rows = {row: _Row(VoiceActivityDetector(settings.vad_threshold, like=self._vad)) for row in range(rows)}
        self._capacity = max(1, rows)
        self._front_end = FrontEnd(self._capacity, model.highpass_hz)
        self._encoder = StreamingEncoder(model.encoder, self._capacity)
        if settings.encoder_dtype != torch.float32:
            self._encoder.to(settings.encoder_dtype)
        self._window = SlidingWindow(model.pooling, self._capacity, settings.window_frames)
        self._classifier = StreamClassifier(self.model, self._capacity)
        self._with_embedding: set[int] = set()  # rows whose results carry their embedding
        self.caught_up = False  # whether the newest step encoded audio that was kept while its row rested

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
        row = next((row for row in range(self._capacity) if row not in self._rows), self._capacity)
        if row == self._capacity:
            self._capacity *= 2
            for part in (self._front_end, self._encoder, self._window, self._classifier):
                part.grow(self._capacity)
        self._rows[row] = _Row(VoiceActivityDetector(self._vad.enter, like=self._vad))
        self.reset(row)
        self.forget_history(row)
        return row

    def configure(self, vad_threshold: float, min_speech: float) -> None:
        """Have these thresholds from the next step on; all state stays as it is.

        Raises:
            ValueError: `vad_threshold` is not within (0.15, 1].
        """
        for vad in (self._vad, *(row.vad for row in self._rows.values())):
            vad.set_threshold(vad_threshold)
        self.settings = replace(self.settings, vad_threshold=vad_threshold, min_speech=min_speech)

    def remove(self, row: int) -> None:
        """Free the row: it costs nothing from now on, and `add` may give it to another stream."""
        del self._rows[row]
        self.set_profile_offset(row, None)
        self.include_embedding(row, False)

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
        (self._with_embedding.add if enabled else self._with_embedding.discard)(row)

    def reset(self, row: int) -> None:
        """Reset all state of `row`: what comes next does not continue what came before."""
        mask = self._mask([row])
        vad = self._rows[row].vad
        vad.reset()
        self._rows[row] = _Row(vad)
        self._front_end.reset(mask.numpy())
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
        levelled = self._preprocess(audio)
        self.caught_up = False
        awake = {row: part for row, samples in levelled.items() if len(part := self._to_encode(row, samples))}
        results = self._read(self._encode_windows(awake, newest_only))
        return results + [result for row in levelled for result in self._silent_windows(row)]

    @torch.inference_mode()
    def flush(self, row: int) -> WindowResult | None:
        """End a row: encode the rest of it and return the window that ends with its last sample, if that is new."""
        state = self._rows[row]
        if state.samples == state.emitted:
            return None
        if state.rest.backlog.samples:
            if not self._has_enough_speech(state, state.samples):
                return self._silent_window(row, state.samples)
            self._read(self._encode_windows({row: self._catch_up(row, np.zeros(0, np.float32), at_once=True)}, ()))
        frames = self._encoder.flush(self._mask([row]))
        counts = self._encoder.frame_counts
        self._window.push(frames, counts)
        state.frames += int(counts[row])
        return self._read([self._classify([row], [state.samples])])[0]

    def _encode_windows(self, levelled: Mapping[int, Samples], newest_only: Collection[int]) -> _Pending:
        """Encode the next levelled audio of each row, and return the windows that it completes."""
        pending: _Pending = []
        for rows, begin, end in _cuts(levelled, self._rest_rule.hop):
            block = np.zeros((self._capacity, end - begin), dtype=np.float32)  # [B, S]
            for row in rows:
                block[row] = levelled[row][begin:end]
            # No mask where every row takes part: the encoder has a shorter way for that.
            mask = None if len(rows) == self._capacity else self._mask(rows)
            frames = self._encode(torch.from_numpy(block)[:, None], mask)  # [B, 128, F]
            self._slide(frames, newest_only, pending)
        return pending

    def _may_rest(self, row: int) -> bool:
        return self.settings.rest and self.settings.min_speech > 0 and row not in self._with_embedding

    @property
    def _rest_rule(self) -> RestRule:
        window, hop = self.settings.window_frames * FRAME_SAMPLES, self.settings.hop_frames * FRAME_SAMPLES
        return RestRule(window, hop, self.settings.min_speech * window)

    def _has_enough_speech(self, state: _Row, end: int) -> bool:
        """Return whether the row's window that ends at `end` gets probabilities."""
        return state.vad.share(max(0, end - self._rest_rule.window), end) >= self.settings.min_speech

    def _to_encode(self, row: int, samples: Samples) -> Samples:
        """Return what is to be encoded now of the row's next levelled samples and of its backlog; maybe nothing."""
        state, rule = self._rows[row], self._rest_rule
        ends = range(state.emitted + rule.hop, state.samples + 1, rule.hop)
        first = state.emitted < rule.window  # the encoder gets to know the room
        needed = first or not self._may_rest(row) or any(self._has_enough_speech(state, end) for end in ends)
        speech = state.vad.speech_samples(max(0, state.samples - rule.window), state.samples)
        near = state.vad.speaking and rule.hops_to_spare(speech) < CATCH_UP_HOPS
        if not needed and not near and is_quiet(samples):
            state.frames += state.rest.keep(samples, rule, state.samples)
            return samples[:0]
        return self._catch_up(row, samples, at_once=needed) if state.rest.backlog.samples else samples

    def _catch_up(self, row: int, samples: Samples, *, at_once: bool) -> Samples:
        """Return what to encode now of the row's backlog and its next samples."""
        state, rule = self._rows[row], self._rest_rule
        if not state.rest.catching_up:  # what no window to come needs is left out
            state.frames += state.rest.drop_before(state.emitted + rule.hop - rule.kept, rule)
        self.caught_up = True
        return state.rest.catch_up(samples, rule, at_once=at_once)

    def _silent_windows(self, row: int) -> list[WindowResult]:
        """Return the windows that ended while the row was not encoded, or not yet."""
        state, hop = self._rows[row], self._rest_rule.hop
        newest = state.samples // hop * hop if state.samples >= STARTUP_SAMPLES else 0
        return [self._silent_window(row, end) for end in range(state.emitted // hop * hop + hop, newest + 1, hop)]

    def _silent_window(self, row: int, end: int) -> WindowResult:
        state = self._rows[row]
        frames = min(-(-end // FRAME_SAMPLES), self.settings.window_frames)
        speech = state.vad.share(max(0, end - frames * FRAME_SAMPLES), end)
        skipped, state.skipped, state.emitted = state.skipped, 0, end
        return WindowResult(row, end, frames, None, (), speech, skipped, familiarity=state.familiarity, rested=True)

    def _encode(self, audio: Tensor, mask: Tensor | None) -> Tensor:
        """`[B, 1, S]` to frames `[B, 128, F]`, between the two stages that `on_stage` learns of."""
        if self.on_stage is None:
            return self._encoder.step(audio, mask)
        self.on_stage("encode begins")
        frames = self._encoder.step(audio, mask)
        self.on_stage("encode ends")
        return frames

    def _preprocess(self, audio: Mapping[int, Samples]) -> dict[int, Samples]:
        """Pass each row's samples through the front end, each by itself, and run voice activity detection on them."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, samples in audio.items():
            by_length[len(samples)].append(row)
        levelled: dict[int, Samples] = {}
        for length, rows in by_length.items():
            mask = self._mask(rows).numpy()
            for row in rows:
                levelled[row] = np.empty(length, dtype=np.float32)
                self._rows[row].samples += length
            for _, begin, end in _cuts({row: audio[row] for row in rows}, self._rest_rule.hop):
                block = np.zeros((self._capacity, end - begin), dtype=np.float32)  # [B, S]
                for row in rows:
                    block[row] = audio[row][begin:end]
                out = self._front_end.step(block, mask)  # [B, S]
                for row in rows:
                    levelled[row][begin:end] = out[row]
        self._detect_voices(levelled)
        return levelled

    def _detect_voices(self, levelled: Mapping[int, Samples]) -> None:
        """Run voice activity detection on each row's next levelled samples, where it does not sleep."""
        if not self.settings.rest:
            self._step_detectors(levelled)
            return
        given = {}
        for row, samples in levelled.items():
            state = self._rows[row]
            given[row] = state.rest.feed_detector(samples, state.vad, state.samples, allowed=self._may_rest(row))
        awake = [row for row in levelled if not self._rows[row].rest.asleep]
        self._step_detectors({row: given[row] for row in awake})
        for row in awake:
            self._rows[row].rest.after_detector(levelled[row], self._rows[row].vad)

    def _step_detectors(self, levelled: Mapping[int, Samples]) -> None:
        for rows, begin, end in _cuts(levelled, self._rest_rule.hop):
            step_together([self._rows[row].vad for row in rows], [levelled[row][begin:end] for row in rows])

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

    def _ends_new_window(self, row: _Row) -> bool:
        return row.frames % self.settings.hop_frames == 0 and row.frames * FRAME_SAMPLES > row.emitted

    def _is_newest(self, row: _Row) -> bool:
        """Return whether no further window ends within the samples that the row has received."""
        frames = row.samples // FRAME_SAMPLES if row.samples >= STARTUP_SAMPLES else 0
        return frames - row.frames < self.settings.hop_frames

    def _classify(self, rows: Sequence[int], ends: Sequence[int]) -> tuple[list[_PooledWindow], Tensor]:
        pooled, attention = self._window.pool_only(rows)  # [N, 640], [N, W]
        logits, distances = self._classifier.classify(pooled, rows)  # [N, labels], [N, 1]
        values = [torch.softmax(logits.float(), dim=-1), attention.float(), distances.float()]
        if self._with_embedding:
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
                embedding=tuple(figures[attention_end + 1 :]) if window.row in self._with_embedding else None,
                familiarity=self._classifier.familiarity(window.row, figures[attention_end]),
            )
            for windows, _ in pending
            for window, figures in zip(windows, values, strict=False)
        ]
        for result in results:
            self._rows[result.row].familiarity = result.familiarity
        return results

    def _mask(self, rows: Collection[int]) -> Tensor:
        mask = torch.zeros(self._capacity, dtype=torch.bool)
        mask[list(rows)] = True
        return mask


def _cuts(audio: Mapping[int, Samples], hop: int) -> Iterator[tuple[list[int], int, int]]:
    """Yield the steps that rows with different numbers of samples share: the rows, and their samples [begin, end).

    Cut at every length that occurs, each step takes all rows that reach so far. There are as few frames one after
    another as the longest row has: for an encoder that reads all its weights for every frame, a row that is late costs
    hardly more than the others. What is longer than a hop of `hop` samples is cut at whole hops into steps of up to
    `STEP_FRAMES`.
    """
    begin = 0
    for end in sorted({len(samples) for samples in audio.values()} - {0}):
        rows = [row for row, samples in audio.items() if len(samples) >= end]
        most = max(1, STEP_FRAMES * FRAME_SAMPLES // (hop * len(rows))) * hop
        for first in range(begin, end, most):
            yield rows, first, min(first + most, end)
        begin = end
