"""Voice activity: silero-vad's packaged model over one stream, and which share of a window has voice."""

from collections import deque
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamer.rates import SAMPLE_RATE

if TYPE_CHECKING:
    import soxr

Samples = npt.NDArray[np.float32]

VOICE_RATE = 16_000  # Hz; what the model was trained on
VOICE_CHUNK = 512  # samples at 16 kHz: what the model takes at a time
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


class VoiceDetector:
    """Voice activity of one stream, state and resampler included.

    Takes the levelled audio, as the encoder does: on recordings 20 dB quieter than usual it then finds voice where the
    plain audio hides a quarter of it, and stationary noise raised by the level does not deceive it.

    Positions are absolute: the first sample after `reset(position)` is number `position`. The resampler holds back up
    to 20 ms and a chunk is 32 ms long, so the newest samples are not judged yet.

    Args:
        enter: probability from which speech begins; it ends below `enter - 0.15`.
        like: a detector of another stream, whose model is copied: a hundred times faster than to load it anew and to
            compile it once more. Nothing else is taken from it.

    Raises:
        ValueError: `enter` is not within (0.15, 1].
    """

    def __init__(self, enter: float = 0.5, *, like: "VoiceDetector | None" = None) -> None:
        if not EXIT_BELOW_ENTER < enter <= 1:
            raise ValueError(f"The threshold of speech must lie above {EXIT_BELOW_ENTER} and up to 1, not {enter}.")
        self.enter = enter
        self._model: Any = _load_silero() if like is None else deepcopy(like._model)
        self.reset()

    def reset(self, position: int = 0) -> None:
        """Forget everything; the next sample is number `position`."""
        self._model.reset_states()
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
        """Run the model until its compiler is done (the first call takes a tenth of a second), then reset."""
        for _ in range(4):
            self._probability(np.zeros(VOICE_CHUNK, dtype=np.float32))
        self.reset()

    def step(self, samples: Samples) -> list[VoiceChunk]:
        """The chunks that `samples` ([n] float32 at 24 kHz, n >= 0) completed, oldest first; maybe none."""
        chunks = [self._judge(chunk) for chunk in self._complete(samples)]
        self._history.extend(chunks)
        return chunks

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

    def _complete(self, samples: Samples) -> Iterator[Samples]:
        louder = np.clip(np.asarray(samples, dtype=np.float32) * np.float32(GAIN), -1, 1)
        resampled = self._resampler.resample_chunk(louder)
        self._pending = np.concatenate([self._pending, resampled])
        while len(self._pending) >= VOICE_CHUNK:
            chunk, self._pending = self._pending[:VOICE_CHUNK], self._pending[VOICE_CHUNK:]
            yield chunk

    def _judge(self, chunk: Samples) -> VoiceChunk:
        probability = self._probability(chunk)
        self._speaking = probability >= (self.enter - EXIT_BELOW_ENTER if self._speaking else self.enter)
        self._judged_to += CHUNK
        return VoiceChunk(self._judged_to, probability, self._speaking)

    def _probability(self, chunk: Samples) -> float:
        import torch

        with torch.inference_mode():
            return float(self._model(torch.from_numpy(chunk), VOICE_RATE))


def _resampler() -> "soxr.ResampleStream":
    import soxr

    # Low quality holds back 11 ms in the mean, high quality 21 ms; the model hears no difference.
    return soxr.ResampleStream(SAMPLE_RATE, VOICE_RATE, num_channels=1, dtype="float32", quality="LQ")


def _load_silero() -> Any:
    """A model of its own for one stream: its state lives inside it.

    Importing silero_vad sets torch to one thread for the whole process, which is not its business: put it back.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad

        return load_silero_vad()
    finally:
        torch.set_num_threads(threads)
