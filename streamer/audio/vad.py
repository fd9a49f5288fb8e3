"""Voice activity detection (VAD) on live streams with silero's network; the share of speech in a window.

The model misses high voices: at a threshold of 0.5 it found no speech in 32 of 1,593 acted emotional clips of women
(CREMA-D, RAVDESS), most of them strong fear and anger, and in none of 1,414 of men. Played slower, the same voice has
the pitch and the formants of a lower one. So each stream passes the network twice, as it is and at two thirds of its
speed, for which the samples at 24 kHz need only be taken as samples at 16 kHz.

The rule, for a threshold `enter` e (0.5 unless configured otherwise): speech begins where the probability of the plain
audio reaches 1 - 0.9 (1 - e), or that of the slowed audio 1 - 0.4 (1 - e): 0.55 and 0.8. It ends where the plain
probability is below e - 0.15 and the slowed one more than 0.15 below where it begins: 0.35 and 0.65. That leaves 6 of
the women's clips without speech: screams at 500 to 750 Hz. So there is speech, too, while `audio.pitch` finds a voice
of such a pitch and either probability reached 0.4 e within the last 3 s. With both, 2 of the women's clips are without
speech and none of the men's; of 200 recordings of places 10 contain a chunk of speech, where 13 did with the plain
audio at 0.5.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.arrays import Samples
from streamer.audio.pitch import NO_FRAMES, HighVoiceOnDemand, high_pitches
from streamer.audio.vad_input import CHUNK, LOOKAHEAD, VadInput
from streamer.constants import SAMPLE_RATE

if TYPE_CHECKING:  # slow to import
    from streamer.audio.silero import Kernels, SileroNetwork

HISTORY_CHUNKS = 60 * SAMPLE_RATE // CHUNK  # a minute: more than any window
RECENT_CHUNKS = 8  # a quarter of a second
GRID = 2 * CHUNK  # samples = 3 x SLOWED_CHUNK: chunks of both speeds begin at every whole multiple
SUSPICION_CHUNKS = 3 * SAMPLE_RATE // CHUNK  # 93 of 32 ms: how long a moderate probability supports a high pitch
SUSPICION = 0.4  # of `enter`: 0.2; 0.15 to 0.25 were measured to do the same
HIDDEN = 128  # values of the state of the network's LSTM
EXIT_BELOW_ENTER = 0.15  # hysteresis: speech ends at a lower probability than it begins at
PLAIN_MARGIN = 0.9  # of the plain audio: 1 - 0.9 (1 - 0.5) = 0.55
SLOWED_MARGIN = 0.4  # of the slowed audio, which is speech-like more often: 1 - 0.4 (1 - 0.5) = 0.8


class VadChunk(NamedTuple):
    """Voice activity in the 32 ms that end at `end`."""

    end: int  # absolute position at 24 kHz
    probability: float  # of speech, 0 to 1
    slowed_probability: float  # of speech in the slowed audio, the largest of the chunks that end here
    is_speech: bool  # after hysteresis


class _Verdict(NamedTuple):
    """What the network alone finds in a chunk."""

    number: int  # of the chunk, from 0 since the reset
    probability: float
    slowed_probability: float
    speaks: bool  # after hysteresis
    suspects: bool  # whether a high pitch would make it speech


class VoiceActivityDetector:
    """Detects voice activity in one stream; holds the network's states and the audio that waits for it.

    The network gets the audio twice: as it is, and slowed to two thirds. See the module.

    Its input is the level-normalised audio, like the encoder's: on recordings 20 dB quieter than usual, a quarter of
    the speech would be missed in the plain audio, and stationary noise raised by the normaliser is not mistaken for
    speech.

    Positions are absolute: the first sample after `reset(position)` is number `position`. A chunk is 32 ms long and
    needs 1.5 ms of audio after it, so the newest samples are not classified yet.

    Args:
        enter: probability near which speech begins: see the module.
        like: a detector of another stream whose network is shared, and nothing else: `step_together` needs the same
            for all.
        kernels: compute the network; plain torch unless given.

    Raises:
        ValueError: `enter` is not within (0.15, 1].
    """

    def __init__(
        self,
        enter: float = 0.5,
        *,
        like: "VoiceActivityDetector | None" = None,
        kernels: "Kernels | None" = None,
    ) -> None:
        self.set_threshold(enter)
        self._network: SileroNetwork = _load_network(kernels) if like is None else like._network
        self.reset()

    def set_threshold(self, enter: float) -> None:
        """Let speech begin near the probability `enter` from now on.

        Raises:
            ValueError: `enter` is not within (0.15, 1].
        """
        if not EXIT_BELOW_ENTER < enter <= 1:
            raise ValueError(f"The threshold of speech must lie above {EXIT_BELOW_ENTER} and up to 1, not {enter}.")
        self.enter = enter
        self._begins, self._slowed_begins = 1 - PLAIN_MARGIN * (1 - enter), 1 - SLOWED_MARGIN * (1 - enter)
        self._ends, self._slowed_ends = enter - EXIT_BELOW_ENTER, self._slowed_begins - EXIT_BELOW_ENTER

    def reset(self, position: int = 0) -> None:
        """Reset all state; the next sample is number `position`."""
        import torch

        self._input = VadInput()
        fresh = torch.zeros(1, HIDDEN)
        # Hidden state and cell state [1, 128] of the LSTM, for the plain and for the slowed audio.
        self._memories = [(fresh, fresh), (fresh, fresh)]
        self._slowed_results: deque[float] = deque()  # probabilities of slowed chunks after the newest plain chunk
        self._high_voice = HighVoiceOnDemand()
        self._suspected = -SUSPICION_CHUNKS  # number of the newest chunk with a moderate probability
        self._start = position
        self._chunks = 0  # classified since the reset
        self._network_speaks = False  # after hysteresis, by the probabilities alone
        self._speaking = False
        self._history = bytearray()  # whether each of the newest chunks, a minute or more, is speech
        self._recent: deque[float] = deque(maxlen=RECENT_CHUNKS)  # the larger probability of each of the newest

    def skip(self, received: int) -> None:
        """Take the samples up to number `received` since the reset for silence, unseen; `resume` looks again."""
        skipped = max(0, (received - LOOKAHEAD) // CHUNK - self._chunks)
        self._recent.extend([0.0] * min(skipped, RECENT_CHUNKS))
        self._append(bytes(skipped))
        self._speaking = self._network_speaks = False

    def resume(self, newest: Samples, received: int) -> Samples:
        """Look again, from some audio before on, which was skipped.

        Args:
            newest: the newest skipped samples, [n] float32.
            received: samples since the reset, up to the end of `newest`.

        Returns:
            the part of `newest` that the next step must be given before the samples after it.
        """
        begin = -(-(received - len(newest)) // GRID) * GRID  # where chunks of both speeds begin
        audio = newest[max(0, len(newest) - (received - begin)) :]
        chunks = begin // CHUNK
        history, memories = self._history[: len(self._history) - max(0, self._chunks - chunks)], self._memories
        self.reset(self._start)
        self._history, self._memories, self._chunks = history, memories, chunks
        self._suspected = chunks - SUSPICION_CHUNKS
        self._high_voice = HighVoiceOnDemand(first=chunks)
        return audio

    @property
    def newest_probability(self) -> float:
        """The largest probability in the newest quarter of a second."""
        return max(self._recent, default=0.0)

    @property
    def suspicious(self) -> bool:
        """Whether a moderate probability within the last 3 s supports a high pitch."""
        return self._chunks - self._suspected < SUSPICION_CHUNKS

    def speech_samples(self, start: int, end: int) -> int:
        """Return how many samples of [start, end) are speech, of those classified so far."""
        return self._overlaps(start, end)[1]

    @property
    def speaking(self) -> bool:
        """Whether the newest chunk is speech."""
        return self._speaking

    def warm_up(self) -> None:
        """Run the network once, since the first call takes longer, then reset."""
        self.step(np.zeros(4 * CHUNK, dtype=np.float32))
        self.reset()

    def step(self, samples: Samples) -> list[VadChunk]:
        """Return the chunks that `samples` ([n] float32 at 24 kHz, n >= 0) complete, oldest first; maybe none."""
        return step_together([self], [samples])[0]

    def share(self, start: int, end: int) -> float:
        """Return the share of speech in samples [start, end), of those classified so far; 0 where none is."""
        classified, speech = self._overlaps(start, end)
        return speech / classified if classified else 0.0

    def _overlaps(self, start: int, end: int) -> tuple[int, int]:
        """Return how many samples of [start, end) are classified, and how many of these are speech."""
        start, end = start - self._start, end - self._start
        oldest = self._chunks - len(self._history)
        first, after = max(oldest, start // CHUNK), min(self._chunks, -(-end // CHUNK))
        if first >= after:
            return 0, 0
        flags = self._history[first - oldest : after - oldest]
        before, beyond = max(0, start - first * CHUNK), max(0, after * CHUNK - end)  # of the chunks at the edges
        speech = flags.count(1) * CHUNK - flags[0] * before - flags[-1] * beyond
        return (after - first) * CHUNK - before - beyond, speech

    def _append(self, flags: bytes | bytearray) -> None:
        """Add whether each of the next chunks is speech."""
        self._chunks += len(flags)
        self._history += flags
        if len(self._history) > 2 * HISTORY_CHUNKS:  # rarely, since it moves all of them
            del self._history[:-HISTORY_CHUNKS]

    def _judge(self, plain: Sequence[float], slowed: Sequence[float]) -> list[_Verdict]:
        """Return what the network finds in the next chunks, from all probabilities that are new."""
        self._slowed_results.extend(slowed)
        verdicts = []
        for number, probability in enumerate(plain, start=self._chunks):
            largest = self._slowed_results.popleft()
            if number % 2:  # of three slowed chunks one ends in the first of two plain ones, two in the second
                largest = max(largest, self._slowed_results.popleft())
            if self._network_speaks:
                self._network_speaks = probability >= self._ends or largest >= self._slowed_ends
            else:
                self._network_speaks = probability >= self._begins or largest >= self._slowed_begins
            larger = max(probability, largest)
            self._recent.append(larger)
            if larger >= SUSPICION * self.enter:
                self._suspected = number
            suspects = not self._network_speaks and number - self._suspected < SUSPICION_CHUNKS
            verdicts.append(_Verdict(number, probability, largest, self._network_speaks, suspects))
        return verdicts

    def _conclude(self, verdicts: Sequence[_Verdict], high: Mapping[int, bool]) -> list[VadChunk]:
        """Return the next chunks. `high`: whether there is a high voice after a frame of `audio.pitch`, where known."""
        begin = self._start + self._chunks * CHUNK
        # Frame k ends with chunk k + 1.
        flags = [v.speaks or (v.suspects and high.get(v.number - 1, False)) for v in verdicts]
        if verdicts:
            self._speaking = flags[-1]
        self._append(bytes(flags))
        ends = range(begin + CHUNK, begin + CHUNK * len(flags) + 1, CHUNK)
        return [
            VadChunk(end, verdict.probability, verdict.slowed_probability, flag)
            for end, verdict, flag in zip(ends, verdicts, flags, strict=True)
        ]


def step_together(detectors: Sequence[VoiceActivityDetector], samples: Sequence[Samples]) -> list[list[VadChunk]]:
    """Run `step` on several streams, with their chunks batched through the one network that the detectors share."""
    if not detectors:
        return []
    probabilities = _probabilities(detectors, [np.asarray(audio, dtype=np.float32) for audio in samples])
    verdicts = []
    for i, (detector, audio) in enumerate(zip(detectors, samples, strict=True)):
        detector._high_voice.push(audio)
        verdicts.append(detector._judge(probabilities[i], probabilities[len(detectors) + i]))
    high = _high_voices(detectors, verdicts)
    for detector in detectors:
        detector._high_voice.trim()
    return [detector._conclude(found, flags) for detector, found, flags in zip(detectors, verdicts, high, strict=True)]


def _probabilities(detectors: Sequence[VoiceActivityDetector], samples: Sequence[Samples]) -> list[list[float]]:
    """Return the speech probabilities of the chunks that `samples` complete: plain of all, then slowed of all."""
    import torch

    network = detectors[0]._network
    taken = [detector._input.take(audio) for detector, audio in zip(detectors, samples, strict=True)]
    count = len(detectors)
    results: list[list[float]] = [[] for _ in range(2 * count)]
    plain, slowed = _together([chunks for chunks, _ in taken]), _together([chunks for _, chunks in taken])
    if not (plain.groups or slowed.groups):
        return results
    with torch.inference_mode():
        inputs = torch.cat((network.to_16_khz(torch.from_numpy(plain.chunks)), torch.from_numpy(slowed.chunks)))
        features = network.features(inputs)  # [M, 128]
        for kind, part in enumerate((plain, slowed)):
            for steps, streams in part.groups:
                rows, features = features[: steps * len(streams)], features[steps * len(streams) :]
                states = [detectors[i]._memories[kind] for i in streams]
                hidden, cell = (torch.stack([state[which] for state in states]) for which in (0, 1))
                found, hidden, cell = network.probabilities(rows.view(steps, len(streams), -1), hidden, cell)
                for i, some, h, c in zip(streams, found.t().tolist(), hidden.unbind(), cell.unbind(), strict=True):
                    results[kind * count + i] = some
                    detectors[i]._memories[kind] = (h, c)
    return results


class _Together(NamedTuple):
    """The chunks of several streams in groups of as many steps each: the first of every stream, the second, …"""

    chunks: Samples  # [M, samples]
    groups: list[tuple[int, list[int]]]  # steps, and the numbers of the streams


def _together(chunks: Sequence[Samples]) -> _Together:
    """Put together the chunks ([K, samples] each) of several streams."""
    by_steps: dict[int, list[int]] = {}
    for stream, of_stream in enumerate(chunks):
        if len(of_stream):
            by_steps.setdefault(len(of_stream), []).append(stream)
    groups = list(by_steps.items())  # there are few: of 7 and 8 steps, or 11 and 12, with the usual hop
    joined = np.empty((sum(map(len, chunks)), chunks[0].shape[1]), dtype=np.float32)
    begin = 0
    for steps, streams in groups:
        block = joined[begin : begin + steps * len(streams)].reshape(steps, len(streams), -1)
        for place, stream in enumerate(streams):
            block[:, place] = chunks[stream]
        begin += steps * len(streams)
    return _Together(joined, groups)


def _high_voices(
    detectors: Sequence[VoiceActivityDetector], verdicts: Sequence[Sequence[_Verdict]]
) -> list[dict[int, bool]]:
    """Return for each stream after which frames there is a high voice, as far as that can change what is speech."""
    asked = []
    for detector, found in zip(detectors, verdicts, strict=True):
        numbers = [verdict.number - 1 for verdict in found if verdict.suspects]  # frame k ends with chunk k + 1
        asked.append(detector._high_voice.ask(numbers[0], numbers[-1]) if numbers else NO_FRAMES)
    flags: list[dict[int, bool]] = [{} for _ in detectors]
    counts = [len(frames) for frames in asked]
    if not any(counts):
        return flags
    pitches = np.split(high_pitches(np.concatenate(asked)), np.cumsum(counts)[:-1])
    for i, (detector, some) in enumerate(zip(detectors, pitches, strict=True)):
        if len(some):
            flags[i] = detector._high_voice.answer(some)
    return flags


def _load_network(kernels: "Kernels | None") -> "SileroNetwork":
    from streamer.audio.silero import PLAIN, SileroNetwork

    return SileroNetwork(kernels or PLAIN)
