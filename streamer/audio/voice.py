"""Voice activity: silero-vad's packaged model over live streams, and which share of a window has voice."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.constants import SAMPLE_RATE

if TYPE_CHECKING:
    import soxr
    import torch
from streamer.arrays import Samples

VOICE_RATE = 16_000  # Hz; what the model was trained on
VOICE_CHUNK = 512  # samples at 16 kHz: what the model takes at a time
VOICE_CONTEXT = 64  # samples at 16 kHz before a chunk that the network sees again
VOICE_STATE = (2, 128)  # hidden and cell state of its LSTM
CHUNK = VOICE_CHUNK * SAMPLE_RATE // VOICE_RATE  # 512 x 3 / 2 = 768 samples at 24 kHz = 32 ms
HISTORY_CHUNKS = 60 * SAMPLE_RATE // CHUNK  # a minute: more than any window
GAIN = 4.0  # +12 dB on the levelled audio's -26 dBFS: measured, the model hears faint voices better at -14 dBFS
EXIT_BELOW_ENTER = 0.15  # hysteresis: speech ends at a lower probability than it begins at


@dataclass(frozen=True, slots=True)
class VoiceChunk:
    """What was heard in the 32 ms that end at `end`."""

    end: int  # absolute position at 24 kHz
    probability: float  # of speech, 0 to 1
    voiced: bool  # after hysteresis


@dataclass(frozen=True, slots=True)
class VoiceMemory:
    """What the network keeps of one stream between two chunks."""

    context: "torch.Tensor"  # [64] at 16 kHz
    state: "torch.Tensor"  # [2, 128]


class VoiceNetwork:
    """silero's network without a state of its own, so that one serves all streams, several of them in one call."""

    def __init__(self) -> None:
        self._network = _load_silero()._model  # what the packaged model wraps: the 16 kHz network, a function

    def fresh(self) -> VoiceMemory:
        """The memory before a stream's first chunk."""
        import torch

        return VoiceMemory(torch.zeros(VOICE_CONTEXT), torch.zeros(VOICE_STATE))

    def __call__(
        self, chunks: Sequence[Samples], memories: Sequence[VoiceMemory]
    ) -> tuple[list[float], list[VoiceMemory]]:
        """The probability of speech in the next chunk, [512] at 16 kHz, of each of N streams, and their memories after."""
        import torch

        with torch.inference_mode():
            contexts = torch.stack([memory.context for memory in memories])
            audio = torch.cat((contexts, torch.from_numpy(np.stack(chunks))), dim=1)  # [N, 64 + 512]
            states = torch.stack([memory.state for memory in memories], dim=1)  # [2, N, 128]
            probabilities, states = self._network(audio, states)  # [N, 1]
            after = zip(audio[:, -VOICE_CONTEXT:].unbind(0), states.unbind(1), strict=True)
            return probabilities[:, 0].tolist(), [VoiceMemory(context, state) for context, state in after]


class VoiceDetector:
    """Voice activity of one stream, memory and resampler included.

    Takes the levelled audio, as the encoder does: on recordings 20 dB quieter than usual it then finds voice where the
    plain audio hides a quarter of it, and stationary noise raised by the level does not deceive it.

    Positions are absolute: the first sample after `reset(position)` is number `position`. The resampler holds back up
    to 20 ms and a chunk is 32 ms long, so the newest samples are not judged yet.

    Args:
        enter: probability from which speech begins; it ends below `enter - 0.15`.
        like: a detector of another stream, to share its network with, and nothing else: to load one takes a tenth of
            a second, and `step_together` wants the same for all.

    Raises:
        ValueError: `enter` is not within (0.15, 1].
    """

    def __init__(self, enter: float = 0.5, *, like: "VoiceDetector | None" = None) -> None:
        if not EXIT_BELOW_ENTER < enter <= 1:
            raise ValueError(f"The threshold of speech must lie above {EXIT_BELOW_ENTER} and up to 1, not {enter}.")
        self.enter = enter
        self._network: VoiceNetwork = VoiceNetwork() if like is None else like._network
        self.reset()

    def reset(self, position: int = 0) -> None:
        """Forget everything; the next sample is number `position`."""
        self._memory = self._network.fresh()
        self._resampler = _resampler()
        self._pending: Samples = np.zeros(0, dtype=np.float32)  # at 16 kHz, less than one chunk
        self._judged_to = position
        self._speaking = False
        self._history: deque[VoiceChunk] = deque(maxlen=HISTORY_CHUNKS)

    @property
    def speaking(self) -> bool:
        """Whether somebody spoke in the newest chunk."""
        return self._speaking

    def warm_up(self) -> None:
        """Run the network until its compiler is done (the first call takes a tenth of a second), then reset."""
        self.step(np.zeros(4 * CHUNK, dtype=np.float32))
        self.reset()

    def step(self, samples: Samples) -> list[VoiceChunk]:
        """The chunks that `samples` ([n] float32 at 24 kHz, n >= 0) completed, oldest first; maybe none."""
        return step_together([self], [samples])[0]

    def share(self, start: int, end: int) -> float:
        """The share of samples [start, end) that has voice, of those judged so far; 0 where none is."""
        judged = voiced = 0
        for chunk in reversed(self._history):
            if chunk.end <= start:
                break
            overlap = max(0, min(chunk.end, end) - max(chunk.end - CHUNK, start))
            judged += overlap
            voiced += overlap * chunk.voiced
        return voiced / judged if judged else 0.0

    def _complete(self, samples: Samples) -> list[Samples]:
        """The chunks at 16 kHz that `samples` complete."""
        louder = np.clip(np.asarray(samples, dtype=np.float32) * np.float32(GAIN), -1, 1)
        resampled = self._resampler.resample_chunk(louder)
        waiting = np.concatenate([self._pending, resampled])
        whole = len(waiting) // VOICE_CHUNK * VOICE_CHUNK
        self._pending = waiting[whole:].copy()  # a view would keep the chunks in memory
        return list(waiting[:whole].reshape(-1, VOICE_CHUNK))

    def _judge(self, probability: float) -> VoiceChunk:
        self._speaking = probability >= (self.enter - EXIT_BELOW_ENTER if self._speaking else self.enter)
        self._judged_to += CHUNK
        chunk = VoiceChunk(self._judged_to, probability, self._speaking)
        self._history.append(chunk)
        return chunk


def step_together(detectors: Sequence[VoiceDetector], samples: Sequence[Samples]) -> list[list[VoiceChunk]]:
    """`step` of several streams, whose chunks go through the network together; the detectors share one."""
    waiting = [detector._complete(audio) for detector, audio in zip(detectors, samples, strict=True)]
    judged: list[list[VoiceChunk]] = [[] for _ in detectors]
    for k in range(max(map(len, waiting), default=0)):
        those = [i for i, chunks in enumerate(waiting) if len(chunks) > k]
        memories = [detectors[i]._memory for i in those]
        probabilities, memories = detectors[those[0]]._network([waiting[i][k] for i in those], memories)
        for i, probability, memory in zip(those, probabilities, memories, strict=True):
            detectors[i]._memory = memory
            judged[i].append(detectors[i]._judge(probability))
    return judged


def _resampler() -> "soxr.ResampleStream":
    import soxr

    # Low quality holds back 11 ms in the mean, high quality 21 ms; the model hears no difference.
    return soxr.ResampleStream(SAMPLE_RATE, VOICE_RATE, num_channels=1, dtype="float32", quality="LQ")


def _load_silero() -> Any:
    """The packaged model.

    Importing silero_vad sets torch to one thread for the whole process, which is not its business: put it back.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad

        return load_silero_vad()
    finally:
        torch.set_num_threads(threads)
