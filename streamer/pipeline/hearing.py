"""Hear the rows of a batch: level their audio, detect voices in it, and say which of it is to be encoded.

All of it runs on the CPU, and needs no model of emotions. A row in which nobody speaks may rest (`pipeline.rest`): its
windows come from here then, without probabilities.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from streamer.arrays import Samples
from streamer.audio.front_end import FrontEnd
from streamer.audio.silero import Kernels
from streamer.audio.vad import VoiceActivityDetector, step_together
from streamer.codec.cpu.pack import packed_lstm, small_product
from streamer.constants import FRAME_SAMPLES, STARTUP_SAMPLES
from streamer.events import Familiarity
from streamer.pipeline.blocks import cuts, mask_of, stack
from streamer.pipeline.rest import CATCH_UP_HOPS, Rest, RestRule, is_quiet
from streamer.pipeline.windows import InferenceSettings, WindowResult


@dataclass(slots=True)
class Row:
    """State of one row: its detector, and its counters since the reset."""

    vad: VoiceActivityDetector
    with_embedding: bool = False  # whether its results carry their embedding; outlasts resets
    samples: int = 0
    frames: int = 0
    emitted: int = 0  # position of the newest window's end, whether it was left out or not
    skipped: int = 0  # windows left out since the newest one
    familiarity: Familiarity | None = None  # of the newest window
    rest: Rest = field(default_factory=Rest)


class Hearing:
    """The front end, and all rows with their detectors; contiguous, and grown by doubling.

    Args:
        rows: number of streams at first, as rows 0, 1, …
        settings: window, hop and voice activity; `configure` replaces them.
        highpass_hz: of the front end; None: no high-pass.

    Attributes:
        settings: in force.
        rows: state of each.
        capacity: rows that there is room for.
        caught_up: whether the newest step gave out audio that was kept while its row rested.
    """

    def __init__(self, rows: int, settings: InferenceSettings, highpass_hz: float | None) -> None:
        self.settings = settings
        # Never stepped: the rows' detectors share its network.
        self._vad = VoiceActivityDetector(settings.vad_threshold, kernels=Kernels(small_product, packed_lstm))
        self.rows = {row: Row(VoiceActivityDetector(settings.vad_threshold, like=self._vad)) for row in range(rows)}
        self.capacity = max(1, rows)
        self.caught_up = False
        self._front_end = FrontEnd(self.capacity, highpass_hz)

    def add(self) -> int:
        """Return a new row, for the caller to reset. Where none is free their number doubles."""
        row = next((row for row in range(self.capacity) if row not in self.rows), self.capacity)
        if row == self.capacity:
            self.capacity *= 2
            self._front_end.grow(self.capacity)
        self.rows[row] = Row(VoiceActivityDetector(self._vad.enter, like=self._vad))
        return row

    def remove(self, row: int) -> None:
        """Free the row."""
        del self.rows[row]

    def reset(self, row: int) -> None:
        """Reset the row: what comes next does not continue what came before."""
        before = self.rows[row]
        before.vad.reset()
        self.rows[row] = Row(before.vad, before.with_embedding)
        self._front_end.reset(mask_of([row], self.capacity).numpy())

    def configure(self, vad_threshold: float, min_speech: float) -> None:
        """Have these thresholds from the next step on; all state stays as it is.

        Raises:
            ValueError: `vad_threshold` is not within (0.15, 1].
        """
        for vad in (self._vad, *(row.vad for row in self.rows.values())):
            vad.set_threshold(vad_threshold)
        self.settings = replace(self.settings, vad_threshold=vad_threshold, min_speech=min_speech)

    def step(self, audio: Mapping[int, Samples]) -> dict[int, Samples]:
        """Hear the next samples of each row; return which levelled ones are to be encoded now, for rows with any."""
        levelled = self.level(audio)
        self.caught_up = False
        return {row: part for row, samples in levelled.items() if len(part := self._to_encode(row, samples))}

    def level(self, audio: Mapping[int, Samples]) -> dict[int, Samples]:
        """Pass each row's samples through the front end, each by itself, and run voice activity detection on them."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, samples in audio.items():
            by_length[len(samples)].append(row)
        levelled: dict[int, Samples] = {}
        for length, rows in by_length.items():
            mask = mask_of(rows, self.capacity).numpy()
            for row in rows:
                levelled[row] = np.empty(length, dtype=np.float32)
                self.rows[row].samples += length
            for _, begin, end in cuts({row: audio[row] for row in rows}, self._rest_rule.hop):
                out = self._front_end.step(stack(audio, rows, begin, end, self.capacity), mask)  # [B, S]
                for row in rows:
                    levelled[row][begin:end] = out[row]
        self._detect_voices(levelled)
        return levelled

    def rest_of(self, row: int) -> dict[int, Samples]:
        """Return all that is still to be encoded of a row that ends."""
        return {row: self._catch_up(row, np.zeros(0, np.float32), at_once=True)}

    def has_enough_speech(self, row: int, end: int) -> bool:
        """Return whether the row's window that ends at `end` gets probabilities."""
        begin = max(0, end - self._rest_rule.window)
        return self.rows[row].vad.share(begin, end) >= self.settings.min_speech

    def silent_windows(self, row: int) -> list[WindowResult]:
        """Return the windows that ended while the row was not encoded, or not yet."""
        state, hop = self.rows[row], self._rest_rule.hop
        newest = state.samples // hop * hop if state.samples >= STARTUP_SAMPLES else 0
        return [self.silent_window(row, end) for end in range(state.emitted // hop * hop + hop, newest + 1, hop)]

    def silent_window(self, row: int, end: int) -> WindowResult:
        """Return the row's window that ends at `end`, without probabilities."""
        state = self.rows[row]
        frames = min(-(-end // FRAME_SAMPLES), self.settings.window_frames)
        speech = state.vad.share(max(0, end - frames * FRAME_SAMPLES), end)
        skipped, state.skipped, state.emitted = state.skipped, 0, end
        return WindowResult(row, end, frames, None, (), speech, skipped, familiarity=state.familiarity, rested=True)

    @property
    def _rest_rule(self) -> RestRule:
        window, hop = self.settings.window_frames * FRAME_SAMPLES, self.settings.hop_frames * FRAME_SAMPLES
        return RestRule(window, hop, self.settings.min_speech * window)

    def _may_rest(self, state: Row) -> bool:
        return self.settings.rest and self.settings.min_speech > 0 and not state.with_embedding

    def _to_encode(self, row: int, samples: Samples) -> Samples:
        """Return what is to be encoded now of the row's next levelled samples and of its backlog; maybe nothing."""
        state, rule = self.rows[row], self._rest_rule
        ends = range(state.emitted + rule.hop, state.samples + 1, rule.hop)
        first = state.emitted < rule.window  # the encoder gets to know the room
        needed = first or not self._may_rest(state) or any(self.has_enough_speech(row, end) for end in ends)
        speech = state.vad.speech_samples(max(0, state.samples - rule.window), state.samples)
        near = state.vad.speaking and rule.hops_to_spare(speech) < CATCH_UP_HOPS
        if not needed and not near and is_quiet(samples):
            state.frames += state.rest.keep(samples, rule, state.samples)
            return samples[:0]
        return self._catch_up(row, samples, at_once=needed) if state.rest.backlog.samples else samples

    def _catch_up(self, row: int, samples: Samples, *, at_once: bool) -> Samples:
        """Return what to encode now of the row's backlog and its next samples."""
        state, rule = self.rows[row], self._rest_rule
        if not state.rest.catching_up:  # what no window to come needs is left out
            state.frames += state.rest.drop_before(state.emitted + rule.hop - rule.kept, rule)
        self.caught_up = True
        return state.rest.catch_up(samples, rule, at_once=at_once)

    def _detect_voices(self, levelled: Mapping[int, Samples]) -> None:
        """Run voice activity detection on each row's next levelled samples, where it does not sleep."""
        if not self.settings.rest:
            self._step_detectors(levelled)
            return
        given = {}
        for row, samples in levelled.items():
            state = self.rows[row]
            given[row] = state.rest.feed_detector(samples, state.vad, state.samples, allowed=self._may_rest(state))
        awake = [row for row in levelled if not self.rows[row].rest.asleep]
        self._step_detectors({row: given[row] for row in awake})
        for row in awake:
            self.rows[row].rest.after_detector(levelled[row], self.rows[row].vad)

    def _step_detectors(self, levelled: Mapping[int, Samples]) -> None:
        for rows, begin, end in cuts(levelled, self._rest_rule.hop):
            step_together([self.rows[row].vad for row in rows], [levelled[row][begin:end] for row in rows])
