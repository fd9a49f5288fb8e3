"""Rest of the streams in which nobody speaks: when the voice detector sleeps, and what the encoder does not encode.

A window gets probabilities where enough of it is speech. While no window to come can have enough within two hops, and
the room is quiet, its stream *rests*: its audio is kept and not encoded, and its windows come as before, without
probabilities. Where speech begins, the audio from before its onset is encoded first, within two hops and always before
the first window that needs it. A short rest is made up for sample by sample, so that nothing differs. Of a long one the
middle is left out: the encoder goes on from the state that it had when the rest began, a second before that window
begins. (Begun anew, it would not become the same in any time: what its LSTM keeps of speech outlasts silence.)

The detector sleeps as well while the sound is the stream's own background (`audio.noise_gate`). Where that changes, it
looks at the last second again, from the state that it had when it fell asleep.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from streamer.arrays import Samples
from streamer.audio.noise_gate import NoiseGate
from streamer.audio.vad import VoiceActivityDetector
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE

# Measured on the shipped weights, with 12 s of noise of -60 dBFS between two readers: where the encoder goes on so many
# frames before a window, its probabilities differ by at most 0.007 from those of the encoder that never rested; with 0
# frames by 0.04, with 150 by 0.002.
FORGETTING_FRAMES = 75  # 1 s
# In louder noise the encoder never rests: noise alone moves what its LSTM keeps from one state to another there, and
# what it skips then makes other probabilities, by up to 0.2. At -50 dBFS they differed by at most 0.006, like at -60.
QUIET_POWER = 10 ** (-46 / 10)  # mean square after the level normaliser, which brings speech to -26 dBFS
CATCH_UP_HOPS = 2
LOOK_BACK = 32 * 1_024  # samples = 1.4 s that the detector looks at again
SLEEPY_AFTER = 2 * SAMPLE_RATE  # samples without any sign of speech
CALM = 0.2  # probability of speech below which there is no sign of it


@dataclass(slots=True)
class Backlog:
    """Consecutive audio that was not encoded."""

    begin: int = 0  # position of its first sample
    samples: int = 0
    _pieces: deque[Samples] = field(default_factory=deque)

    def append(self, samples: Samples) -> None:
        """Add the next samples."""
        self._pieces.append(samples.copy())  # a view would keep the whole batch in memory
        self.samples += len(samples)

    def take(self, count: int) -> Samples:
        """Return and forget the oldest `count` samples."""
        taken = []
        left = count
        while left:
            piece = self._pieces.popleft()
            if len(piece) > left:
                self._pieces.appendleft(piece[left:])
            taken.append(piece[:left])
            left -= len(taken[-1])
        self.begin += count
        self.samples -= count
        return np.concatenate(taken) if taken else np.zeros(0, dtype=np.float32)

    def newest(self, count: int) -> Samples:
        """Return up to `count` samples, the newest."""
        taken: list[Samples] = []
        left = count
        for piece in reversed(self._pieces):
            if left <= 0:
                break
            taken.insert(0, piece[-left:])
            left -= len(taken[0])
        return np.concatenate(taken) if taken else np.zeros(0, dtype=np.float32)


def is_quiet(samples: Samples) -> bool:
    """Return whether levelled audio is faint enough for the encoder to leave it out."""
    return float(np.dot(samples, samples)) <= QUIET_POWER * len(samples)


@dataclass(frozen=True, slots=True)
class RestRule:
    """When a stream of windows may rest; all in samples."""

    window: int
    hop: int
    needed: float  # of speech in a window, for it to get probabilities

    @property
    def kept(self) -> int:
        """Audio that the first window after a rest needs."""
        return self.window + FORGETTING_FRAMES * FRAME_SAMPLES

    def hops_to_spare(self, speech: int) -> int:
        """Return the hops before the first window that may hold enough speech, where one now holds `speech`."""
        return max(0, int(np.ceil((self.needed - speech) / self.hop)) - 1)


@dataclass(slots=True)
class Rest:
    """The rest of one row since its reset."""

    backlog: Backlog = field(default_factory=Backlog)
    catching_up: bool = False
    asleep: bool = False  # the detector
    _gate: NoiseGate = field(default_factory=NoiseGate)
    _calm: int = 0  # samples without any sign of speech

    def feed_detector(self, samples: Samples, vad: VoiceActivityDetector, received: int, *, allowed: bool) -> Samples:
        """Return what the detector must be given of the row's next samples and of those it slept through; maybe none.

        Args:
            samples: the next ones.
            vad: the row's detector.
            received: samples since the reset, these included.
            allowed: whether it may sleep.
        """
        if not self.asleep:
            return samples
        changed = self._gate.step(samples)
        if allowed and not changed:
            self._gate.learn()
            vad.skip(received)
            return samples[:0]
        self.asleep, self._calm = False, 0
        self._gate.relearn()
        before = vad.resume(self.backlog.newest(LOOK_BACK), received - len(samples))
        return np.concatenate([before, samples])

    def after_detector(self, samples: Samples, vad: VoiceActivityDetector) -> None:
        """Let the detector sleep from the next samples on, if these and those before show that it may."""
        if self.asleep:
            return
        changed = self._gate.step(samples)
        calm = not vad.speaking and vad.newest_probability < CALM
        if calm:
            self._gate.learn()
        self._calm = self._calm + len(samples) if calm and not changed else 0
        long_enough = self.backlog.samples >= LOOK_BACK and self._calm >= SLEEPY_AFTER
        self.asleep = long_enough and self._gate.learned

    def keep(self, samples: Samples, rule: RestRule, received: int) -> int:
        """Keep `samples` unencoded, and no more of what is before than could be needed; return what `drop` returns."""
        self.catching_up = False
        if not self.backlog.samples:
            self.backlog.begin = received - len(samples)
        self.backlog.append(samples)
        return self.drop_before(received - rule.kept, rule)

    def drop_before(self, position: int, rule: RestRule) -> int:
        """Forget the audio before `position`, in whole hops, and return how many frames that are."""
        surplus = max(0, position - self.backlog.begin) // rule.hop * rule.hop
        self.backlog.take(surplus)
        return surplus // FRAME_SAMPLES

    def catch_up(self, samples: Samples, rule: RestRule, *, at_once: bool) -> Samples:
        """Return what to encode now of the backlog and the next `samples`: all, or the first of two parts."""
        self.backlog.append(samples)
        count = self.backlog.samples
        if not (at_once or self.catching_up):
            hops = count // rule.hop
            count = min(count, -(-hops // CATCH_UP_HOPS) * rule.hop)
        self.catching_up = count < self.backlog.samples
        return self.backlog.take(count)
