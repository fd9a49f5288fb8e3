"""Voice activity detection (VAD) on live streams with silero-vad's packaged model; the share of speech in a window.

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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from streamer.arrays import Samples
from streamer.audio.pitch import HighVoice, high_pitches
from streamer.constants import SAMPLE_RATE

if TYPE_CHECKING:  # slow to import
    import soxr
    import torch

VAD_RATE = 16_000  # Hz; the model's rate
VAD_CHUNK = 512  # samples at 16 kHz: the model's input per step
VAD_CONTEXT = 64  # samples at 16 kHz before a chunk that are part of its input, too
LSTM_STATE = (2, 128)  # hidden and cell state of the model's LSTM
CHUNK = VAD_CHUNK * SAMPLE_RATE // VAD_RATE  # 512 x 3 / 2 = 768 samples at 24 kHz = 32 ms
HISTORY_CHUNKS = 60 * SAMPLE_RATE // CHUNK  # a minute: more than any window
SUSPICION_CHUNKS = 3 * SAMPLE_RATE // CHUNK  # 93 of 32 ms: how long a moderate probability supports a high pitch
SUSPICION = 0.4  # of `enter`: 0.2; 0.15 to 0.25 were measured to do the same
GAIN = 4.0  # +12 dB on the normalised audio's -26 dBFS: measured, the model detects faint speech better at -14 dBFS
SLOWED_CHUNK = VAD_CHUNK  # samples at 24 kHz = 21.3 ms, passed as if at 16 kHz: two thirds of speed and pitch
EXIT_BELOW_ENTER = 0.15  # hysteresis: speech ends at a lower probability than it begins at
PLAIN_MARGIN = 0.9  # of the plain audio: 1 - 0.9 (1 - 0.5) = 0.55
SLOWED_MARGIN = 0.4  # of the slowed audio, which is speech-like more often: 1 - 0.4 (1 - 0.5) = 0.8


@dataclass(frozen=True, slots=True)
class VadChunk:
    """Voice activity in the 32 ms that end at `end`."""

    end: int  # absolute position at 24 kHz
    probability: float  # of speech, 0 to 1
    slowed_probability: float  # of speech in the slowed audio, the largest of the chunks that end here
    is_speech: bool  # after hysteresis


class VadNetwork:
    """silero's network in its two parts, with the state passed in, so that one network serves all streams.

    What comes before the LSTM depends on a chunk alone, so it runs once for all chunks of a step; for one stream and a
    hop of 240 ms that takes half the time of running the whole network chunk by chunk.
    """

    def __init__(self) -> None:
        self._network = _load_silero()._model  # the packaged model wraps this 16 kHz network, a function

    def features(self, chunks: Samples) -> "torch.Tensor":
        """Return the features ([M, 128, 1]) of chunks, each with the 64 samples before it: [M, 64 + 512] at 16 kHz."""
        import torch

        with torch.inference_mode():
            features: torch.Tensor = self._network.encoder(self._network.run_extractors(torch.from_numpy(chunks)))
            return features

    def step(self, features: "torch.Tensor", lstm: "torch.Tensor") -> tuple[list[float], "torch.Tensor"]:
        """Return the speech probabilities of the next chunks of N streams, and the LSTM's new state.

        Args:
            features: [N, 128, 1], of one chunk a stream.
            lstm: [2, N, 128], after the chunks before.
        """
        import torch

        with torch.inference_mode():
            probabilities, lstm = self._network.decoder(features, lstm)  # [N, 1, 1], [2, N, 128]
            return probabilities[:, 0, 0].tolist(), lstm


class _Playback:
    """One stream's audio on its way to the network, at its own speed or slowed: resampler, unfinished chunk, LSTM."""

    def __init__(self, *, slowed: bool) -> None:
        import torch

        self.lstm = torch.zeros(LSTM_STATE)
        self._resampler = None if slowed else _resampler()
        # The 64 samples before the next chunk, and the beginning of it, at the network's rate.
        self._waiting: Samples = np.zeros(VAD_CONTEXT, dtype=np.float32)

    def complete(self, samples: Samples) -> Samples:
        """Return the chunks that `samples` ([n] float32 at 24 kHz) complete, with their contexts: [K, 64 + 512]."""
        resampled = samples if self._resampler is None else self._resampler.resample_chunk(samples)
        waiting = np.concatenate([self._waiting, resampled])
        count = (len(waiting) - VAD_CONTEXT) // VAD_CHUNK
        self._waiting = waiting[count * VAD_CHUNK :].copy()  # a view would keep the chunks in memory
        if count == 0:
            return np.zeros((0, VAD_CONTEXT + VAD_CHUNK), dtype=np.float32)
        return sliding_window_view(waiting, VAD_CONTEXT + VAD_CHUNK)[::VAD_CHUNK][:count]


class VoiceActivityDetector:
    """Detects voice activity in one stream; holds the network's states and the resampler.

    The network gets the audio twice: as it is, and slowed to two thirds. See the module.

    Its input is the level-normalised audio, like the encoder's: on recordings 20 dB quieter than usual, a quarter of
    the speech would be missed in the plain audio, and stationary noise raised by the normaliser is not mistaken for
    speech.

    Positions are absolute: the first sample after `reset(position)` is number `position`. The resampler holds back up
    to 20 ms and a chunk is 32 ms long, so the newest samples are not classified yet.

    Args:
        enter: probability near which speech begins: see the module.
        like: a detector of another stream whose network is shared, and nothing else: loading one takes a tenth of a
            second, and `step_together` needs the same for all.

    Raises:
        ValueError: `enter` is not within (0.15, 1].
    """

    def __init__(self, enter: float = 0.5, *, like: "VoiceActivityDetector | None" = None) -> None:
        self.set_threshold(enter)
        self._network: VadNetwork = VadNetwork() if like is None else like._network
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
        self._plain = _Playback(slowed=False)
        self._slowed = _Playback(slowed=True)
        self._slowed_results: deque[float] = deque()  # probabilities of slowed chunks after the newest plain chunk
        self._high_voice = HighVoice()
        self._high_results: deque[bool] = deque([False])  # of frames that end with the next chunks; none with the first
        self._recent: deque[float] = deque(maxlen=SUSPICION_CHUNKS)  # the larger probability of each chunk
        self._start = self._classified_to = position
        self._network_speaks = False  # after hysteresis, by the probabilities alone
        self._speaking = False
        self._history: deque[VadChunk] = deque(maxlen=HISTORY_CHUNKS)

    @property
    def speaking(self) -> bool:
        """Whether the newest chunk is speech."""
        return self._speaking

    def warm_up(self) -> None:
        """Run the network until it is compiled (the first call takes a tenth of a second), then reset."""
        self.step(np.zeros(4 * CHUNK, dtype=np.float32))
        self.reset()

    def step(self, samples: Samples) -> list[VadChunk]:
        """Return the chunks that `samples` ([n] float32 at 24 kHz, n >= 0) complete, oldest first; maybe none."""
        return step_together([self], [samples])[0]

    def share(self, start: int, end: int) -> float:
        """Return the share of speech in samples [start, end), of those classified so far; 0 where none is."""
        classified = speech = 0
        for chunk in reversed(self._history):
            if chunk.end <= start:
                break
            overlap = max(0, min(chunk.end, end) - max(chunk.end - CHUNK, start))
            classified += overlap
            speech += overlap * chunk.is_speech
        return speech / classified if classified else 0.0

    def _classify(self, plain: float) -> VadChunk:
        """Return the next chunk, from the probability of the plain audio and those of the slowed one up to its end."""
        chunks = (self._classified_to - self._start) // CHUNK
        ending = CHUNK * (chunks + 1) // SLOWED_CHUNK - CHUNK * chunks // SLOWED_CHUNK  # 1 or 2 of 512 in 768 samples
        slowed = max(self._slowed_results.popleft() for _ in range(ending))
        if self._network_speaks:
            self._network_speaks = plain >= self._ends or slowed >= self._slowed_ends
        else:
            self._network_speaks = plain >= self._begins or slowed >= self._slowed_begins
        self._recent.append(max(plain, slowed))
        high = self._high_results.popleft() and max(self._recent) >= SUSPICION * self.enter
        self._speaking = self._network_speaks or high
        self._classified_to += CHUNK
        chunk = VadChunk(self._classified_to, plain, slowed, self._speaking)
        self._history.append(chunk)
        return chunk


def step_together(detectors: Sequence[VoiceActivityDetector], samples: Sequence[Samples]) -> list[list[VadChunk]]:
    """Run `step` on several streams, with their chunks batched through the one network that the detectors share."""
    if not detectors:
        return []
    louder = [np.clip(np.asarray(audio, dtype=np.float32) * np.float32(GAIN), -1, 1) for audio in samples]
    playbacks = [d._plain for d in detectors] + [d._slowed for d in detectors]
    probabilities = _probabilities(detectors[0]._network, playbacks, louder * 2)
    plain, slowed = probabilities[: len(detectors)], probabilities[len(detectors) :]
    for detector, ended in zip(detectors, slowed, strict=True):
        detector._slowed_results.extend(ended)
    frames = [d._high_voice.complete(audio) for d, audio in zip(detectors, samples, strict=True)]
    pitches = np.split(high_pitches(np.concatenate(frames)), np.cumsum([len(some) for some in frames])[:-1])
    for detector, some in zip(detectors, pitches, strict=True):
        detector._high_results.extend(detector._high_voice.take(some))
    return [[detector._classify(p) for p in ended] for detector, ended in zip(detectors, plain, strict=True)]


def _probabilities(
    network: VadNetwork, playbacks: Sequence[_Playback], samples: Sequence[Samples]
) -> list[list[float]]:
    """Return the speech probabilities of the chunks that `samples` complete, for each playback."""
    import torch

    chunks = [playback.complete(audio) for playback, audio in zip(playbacks, samples, strict=True)]  # [K, 576] each
    counts = np.array([len(some) for some in chunks])
    results: list[list[float]] = [[] for _ in playbacks]
    if not counts.any():
        return results
    longest_first = np.argsort(-counts, kind="stable")
    firsts = (np.cumsum(counts) - counts)[longest_first]  # each playback's first row of the features
    with torch.inference_mode():
        features = network.features(np.concatenate(chunks))  # [K1 + K2 + ..., 128, 1]
        lstm = torch.stack([playbacks[i].lstm for i in longest_first], dim=1)  # [2, N, 128]
        for k in range(counts.max()):
            n = np.count_nonzero(counts > k)  # they come first
            probabilities, lstm[:, :n] = network.step(features[firsts[:n] + k], lstm[:, :n])
            for i, probability in zip(longest_first, probabilities, strict=False):
                results[i].append(probability)
        for i, state in zip(longest_first, lstm.unbind(1), strict=True):
            playbacks[i].lstm = state
    return results


def _resampler() -> "soxr.ResampleStream":
    import soxr

    # Low quality holds back 11 ms in the mean, high quality 21 ms; the probabilities do not differ.
    return soxr.ResampleStream(SAMPLE_RATE, VAD_RATE, num_channels=1, dtype="float32", quality="LQ")


def _load_silero() -> Any:
    """Load the packaged model, and restore torch's thread count.

    Importing silero_vad (6.2) sets torch to one thread for the whole process.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad

        return load_silero_vad()
    finally:
        torch.set_num_threads(threads)
