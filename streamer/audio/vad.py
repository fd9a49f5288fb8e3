"""Voice activity detection (VAD) on live streams with silero-vad's packaged model; the share of speech in a window."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.arrays import Samples
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
GAIN = 4.0  # +12 dB on the normalised audio's -26 dBFS: measured, the model detects faint speech better at -14 dBFS
EXIT_BELOW_ENTER = 0.15  # hysteresis: speech ends at a lower probability than it begins at


@dataclass(frozen=True, slots=True)
class VadChunk:
    """Voice activity in the 32 ms that end at `end`."""

    end: int  # absolute position at 24 kHz
    probability: float  # of speech, 0 to 1
    is_speech: bool  # after hysteresis


@dataclass(frozen=True, slots=True)
class VadState:
    """State of the network for one stream, between two chunks."""

    context: "torch.Tensor"  # [64] at 16 kHz
    lstm: "torch.Tensor"  # [2, 128]


class VadNetwork:
    """silero's network with its state passed in, so that one network serves all streams, several in one call."""

    def __init__(self) -> None:
        self._network = _load_silero()._model  # the packaged model wraps this 16 kHz network, a function

    def fresh(self) -> VadState:
        """Return the state before a stream's first chunk."""
        import torch

        return VadState(torch.zeros(VAD_CONTEXT), torch.zeros(LSTM_STATE))

    def __call__(self, chunks: Sequence[Samples], states: Sequence[VadState]) -> tuple[list[float], list[VadState]]:
        """Return the speech probability of the next chunk ([512] at 16 kHz) of N streams each, and the new states."""
        import torch

        with torch.inference_mode():
            contexts = torch.stack([state.context for state in states])  # [N, 64]
            audio = torch.cat((contexts, torch.from_numpy(np.stack(chunks))), dim=1)  # [N, 64 + 512]
            lstm = torch.stack([state.lstm for state in states], dim=1)  # [2, N, 128]
            probabilities, lstm = self._network(audio, lstm)  # [N, 1], [2, N, 128]
            after = zip(audio[:, -VAD_CONTEXT:].unbind(0), lstm.unbind(1), strict=True)
            return probabilities[:, 0].tolist(), [VadState(context, state) for context, state in after]


class VoiceActivityDetector:
    """Detects voice activity in one stream; holds the network's state and the resampler.

    Its input is the level-normalised audio, like the encoder's: on recordings 20 dB quieter than usual, a quarter of
    the speech would be missed in the plain audio, and stationary noise raised by the normaliser is not mistaken for
    speech.

    Positions are absolute: the first sample after `reset(position)` is number `position`. The resampler holds back up
    to 20 ms and a chunk is 32 ms long, so the newest samples are not classified yet.

    Args:
        enter: probability from which speech begins; it ends below `enter - 0.15`.
        like: a detector of another stream whose network is shared, and nothing else: loading one takes a tenth of a
            second, and `step_together` needs the same for all.

    Raises:
        ValueError: `enter` is not within (0.15, 1].
    """

    def __init__(self, enter: float = 0.5, *, like: "VoiceActivityDetector | None" = None) -> None:
        if not EXIT_BELOW_ENTER < enter <= 1:
            raise ValueError(f"The threshold of speech must lie above {EXIT_BELOW_ENTER} and up to 1, not {enter}.")
        self.enter = enter
        self._network: VadNetwork = VadNetwork() if like is None else like._network
        self.reset()

    def reset(self, position: int = 0) -> None:
        """Reset all state; the next sample is number `position`."""
        self._state = self._network.fresh()
        self._resampler = _resampler()
        self._pending: Samples = np.zeros(0, dtype=np.float32)  # at 16 kHz, less than one chunk
        self._classified_to = position
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

    def _complete(self, samples: Samples) -> list[Samples]:
        """Return the chunks ([512] at 16 kHz) that `samples` complete."""
        louder = np.clip(np.asarray(samples, dtype=np.float32) * np.float32(GAIN), -1, 1)
        resampled = self._resampler.resample_chunk(louder)
        waiting = np.concatenate([self._pending, resampled])
        whole = len(waiting) // VAD_CHUNK * VAD_CHUNK
        self._pending = waiting[whole:].copy()  # a view would keep the chunks in memory
        return list(waiting[:whole].reshape(-1, VAD_CHUNK))

    def _classify(self, probability: float) -> VadChunk:
        self._speaking = probability >= (self.enter - EXIT_BELOW_ENTER if self._speaking else self.enter)
        self._classified_to += CHUNK
        chunk = VadChunk(self._classified_to, probability, self._speaking)
        self._history.append(chunk)
        return chunk


def step_together(detectors: Sequence[VoiceActivityDetector], samples: Sequence[Samples]) -> list[list[VadChunk]]:
    """Run `step` on several streams, with their chunks batched through the one network that the detectors share."""
    waiting = [detector._complete(audio) for detector, audio in zip(detectors, samples, strict=True)]
    classified: list[list[VadChunk]] = [[] for _ in detectors]
    for k in range(max(map(len, waiting), default=0)):
        rows = [i for i, chunks in enumerate(waiting) if len(chunks) > k]
        states = [detectors[i]._state for i in rows]
        probabilities, states = detectors[rows[0]]._network([waiting[i][k] for i in rows], states)
        for i, probability, state in zip(rows, probabilities, states, strict=True):
            detectors[i]._state = state
            classified[i].append(detectors[i]._classify(probability))
    return classified


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
