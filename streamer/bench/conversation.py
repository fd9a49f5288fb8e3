"""Many streams in which people speak a share of the time, through the whole inference: what rests save, and cost.

Every stream is a recording of turns: speech, then the noise of a quiet room, over and over. The streams are at
different places of it. Their hops arrive in real time, but by a clock of our own that steps move by the time they take,
and that jumps where the machine would be idle.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile

from streamer.arrays import Samples
from streamer.constants import FRAME_RATE, FRAME_SAMPLES, SAMPLE_RATE
from streamer.pipeline.worker import BEHIND_HOPS, MAX_HOPS
from streamer.sources.demo import DEMO, captions

TURN_S = 10.0  # of speech; the silence after it is as long as the share says
NOISE_DBFS = -60.0
SETTLING_HOPS = 84  # 20 s of the usual hop, after which those who do not speak rest
LATE_HOPS = 2  # results come within a hop of their window's end, and within one more where streams wake from a rest

Step = Callable[[int, int], float]  # (first hop, hops) of all streams → milliseconds until the results were there


@dataclass(frozen=True, slots=True)
class Conversation:
    """A recording of turns, and where each stream is in it."""

    audio: Samples  # at 24 kHz, repeated for ever
    offsets: tuple[int, ...]  # samples, one for each stream

    def hops(self, first: int, count: int, hop_frames: int) -> dict[int, Samples]:
        """Return `count` hops of every stream, by row, from hop `first` on."""
        hop = hop_frames * FRAME_SAMPLES
        places = first * hop + np.arange(count * hop)
        return {row: self.audio[(offset + places) % len(self.audio)] for row, offset in enumerate(self.offsets)}


def make_conversation(streams: int, speech: float, seed: int = 0) -> Conversation:
    """Return turns of the bundled voices and of noise; each stream begins at a place drawn by chance.

    Args:
        streams: how many.
        speech: share of the time in which somebody speaks, above 0 and at most 1.
        seed: of noise and places.
    """
    random = np.random.default_rng(seed)
    spoken = _spoken()
    turn, silence = round(TURN_S * SAMPLE_RATE), round(TURN_S * (1 / speech - 1) * SAMPLE_RATE)
    parts = []
    for begin in range(0, len(spoken) - turn + 1, turn):
        parts += [spoken[begin : begin + turn], np.zeros(silence, np.float32)]
    audio = np.concatenate(parts)
    audio += 10 ** (NOISE_DBFS / 20) * random.standard_normal(len(audio)).astype(np.float32)
    return Conversation(audio, tuple(int(place) for place in random.integers(0, len(audio), streams)))


def _spoken() -> Samples:
    """Return what the bundled voices say, without the pauses between them."""
    audio, rate_hz = soundfile.read(DEMO, dtype="float32")
    assert rate_hz == SAMPLE_RATE
    said = [caption for caption in captions() if caption.mood]
    return np.concatenate([audio[round(c.start_s * rate_hz) : round(c.end_s * rate_hz)] for c in said])


@dataclass(frozen=True, slots=True)
class Delays:
    """How long steps took and results came after their hops' ends, in milliseconds."""

    step_ms: tuple[float, ...]
    result_ms: tuple[float, ...]
    behind: bool  # so late that windows would have been skipped


def follow(step: Step, hop_frames: int, hops: int, late: int) -> Delays:
    """Give `step` the hops as they arrive, and measure by how much the results come later.

    Args:
        step: what is measured.
        hop_frames: frames of 13.3 ms in a hop.
        hops: measured after those in which the streams settle; at least 1.
        late: end as soon as the results of more hops than this took `LATE_HOPS`.
    """
    hop_ms = 1000 * hop_frames / FRAME_RATE
    for hop in range(SETTLING_HOPS):  # as fast as they go: at first every stream is encoded
        step(hop, 1)
    step_ms: list[float] = []
    result_ms: list[float] = []
    now_ms, done, behind = 0.0, 0, False
    while done < hops and not behind and sum(ms >= LATE_HOPS * hop_ms for ms in result_ms) <= late:
        waiting = min(int(now_ms / hop_ms) - done, MAX_HOPS)
        if waiting < 1:  # idle until the end of the next hop
            waiting, now_ms = 1, (done + 1) * hop_ms
        behind = waiting >= BEHIND_HOPS
        step_ms.append(step(SETTLING_HOPS + done, waiting))
        now_ms += step_ms[-1]
        result_ms += [now_ms - (done + place) * hop_ms for place in range(1, waiting + 1)]
        done += waiting
    return Delays(tuple(step_ms), tuple(result_ms), behind)
