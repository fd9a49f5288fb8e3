"""Turn windows into stable emotions: smoothing in time and hysteresis. Pure Python.

A window's probabilities flicker; a person's mood does not. The tracker smooths them exponentially in time and holds at
most one emotion at a time:

- It *starts* on a window that claims it, when its smoothed probability is at least `enter` and has been the largest
  for `dwell_s` without a break in the speech.
- It *ends* when its smoothed probability falls below `exit`, when another one starts, when no window has claimed a
  label for `hang_s`, at a gap in the audio (`reset`), and when the stream ends (`close`).

So every start has exactly one end, the two alternate, and no duration is negative. Times within a stream are positions
in its audio (`end_s`), so that `--fast` gives the same emotions as real time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from streamer.constants import DEFAULT_DWELL_S, DEFAULT_HANG_S, DEFAULT_SMOOTHING_S

Probabilities = Mapping[str, float]

_ENTER_ODDS = 5 / 3  # of an emotion that may start, where those of one that a window claims are 1: 0.64 becomes 0.75


@dataclass(frozen=True, slots=True)
class Observation:
    """The model's output for one window."""

    time: float  # wall time of the window's end, seconds since the epoch
    end_s: float  # position of the window's end in the stream, in seconds
    probs: Probabilities | None  # every label, summing to 1; None where nothing was inferred
    speech: float  # share of the window with voice activity, 0 to 1
    warming: bool  # the window is not full of gapless audio yet


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """The rule by which one window claims an emotion: enough speech, a full window, and enough confidence."""

    threshold: float  # of the largest probability; the checkpoint's card has one
    min_speech: float = 0.3  # share of the window; below it, the window is silence or other sounds

    def __post_init__(self) -> None:
        check_share("threshold", self.threshold)
        check_share("min_speech", self.min_speech)

    def counts(self, observation: Observation) -> bool:
        """Return whether the window is full and holds enough speech for its probabilities to count."""
        return observation.probs is not None and not observation.warming and observation.speech >= self.min_speech

    def label(self, observation: Observation) -> str | None:
        """Return the emotion that the window claims; None in silence, in non-speech, while warming, and when unsure."""
        if observation.probs is None or not self.counts(observation):
            return None
        label, probability = max(observation.probs.items(), key=lambda item: item[1])
        return label if probability >= self.threshold else None


def check_share(name: str, value: float) -> None:
    """Raise ValueError where `value` is no share of one."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, not {value}.")


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """Thresholds and time constants of a tracker. Raises ValueError for values that cannot work."""

    enter: float  # smoothed probability from which an emotion may start
    exit: float  # below which it ends; not above `enter`
    smoothing_s: float = DEFAULT_SMOOTHING_S  # time constant of the exponential smoothing; 0 smooths nothing
    dwell_s: float = DEFAULT_DWELL_S  # how long an emotion must lead before it starts
    hang_s: float = DEFAULT_HANG_S  # how long nothing may be claimed before it ends

    def __post_init__(self) -> None:
        check_share("enter", self.enter)
        check_share("exit", self.exit)
        if self.exit > self.enter:
            raise ValueError(f"exit ({self.exit}) must not be above enter ({self.enter}).")
        for name in ("smoothing_s", "dwell_s", "hang_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 seconds, not {getattr(self, name)}.")

    @classmethod
    def around(cls, threshold: float) -> "TrackerSettings":
        """Return settings that enter above where windows begin to claim (`threshold`) and leave at half of it.

        Windows of 3 s are smooth already: asking for more odds keeps out more of what is no emotion than smoothing and
        waiting do, and takes less time. What is held is left late, or it would flicker where the speaker pauses.
        """
        odds = _ENTER_ODDS * threshold
        return cls(enter=odds / (odds + 1 - threshold), exit=0.5 * threshold)


@dataclass(frozen=True, slots=True)
class Started:
    """A stable emotion began."""

    time: float
    label: str
    previous: str | None  # the emotion held until now
    confidence: float  # smoothed probability
    start_s: float  # position in the stream at which it was decided, `dwell_s` after it began to lead


@dataclass(frozen=True, slots=True)
class Ended:
    """The emotion that began last is over."""

    time: float
    label: str
    duration_s: float  # from `Started.start_s`, in the stream's own time
    peak_confidence: float


@dataclass(frozen=True, slots=True)
class TrackerOutput:
    """The state after one window."""

    label: str | None  # the emotion held
    confidence: float | None  # its smoothed probability now
    since: float  # wall time at which `label` became what it is
    smoothed: Probabilities | None  # None until there was speech, and after `hang_s` without any
    ended: Ended | None  # comes before `started` where both happen
    started: Started | None
    leaning: str | None = None  # the likeliest label while none is held; None without speech, too


@dataclass
class _Open:
    """The emotion held."""

    label: str
    start_s: float
    peak: float


class Tracker:
    """One stream's tracker. Not for several threads at once."""

    def __init__(self, rule: ClaimRule, settings: TrackerSettings) -> None:
        self.rule = rule
        self.settings = settings
        self._open: _Open | None = None
        self._since: float | None = None
        self._clock_s = -math.inf  # position of the newest window
        self._forget()

    def update(self, observation: Observation) -> TrackerOutput:
        """Update the state with one window; windows come in the order of their time."""
        now = self._clock_s = max(self._clock_s, observation.end_s)
        if self._since is None:
            self._since = observation.time
        claimed = self.rule.label(observation)
        if claimed is not None:
            self._claimed_s = now
        self._follow(observation, now)

        winner = claimed if claimed == self._winner(now) else None
        previous = ended = started = None
        if self._open and self._is_over(now, winner):
            previous = self._open.label
            ended = self._end(observation.time, now)
        if winner is not None and self._open is None:
            started = self._start(observation.time, now, winner, previous)
        if self._open:
            self._open.peak = max(self._open.peak, self._confidence())
        return self._output(ended, started)

    def reset(self, time: float) -> TrackerOutput:
        """End the emotion held at wall time `time` and forget all windows, because of a gap in the audio."""
        ended = self._end(time, self._clock_s) if self._open else None
        if self._since is None:
            self._since = time
        self._forget()
        self._clock_s = -math.inf  # the audio may go on at any position
        return self._output(ended, None)

    def close(self, time: float) -> TrackerOutput:
        """End the emotion held: the stream is over."""
        return self.reset(time)

    def _forget(self) -> None:
        self._smoothed: dict[str, float] | None = None
        self._smoothed_s = -math.inf  # position of the newest window with speech
        self._claimed_s = -math.inf  # position of the newest window with a label
        self._leader: str | None = None
        self._leading_since_s = math.inf

    def _follow(self, observation: Observation, now: float) -> None:
        """Smooth the probabilities and find the leading emotion, and since when; without speech there is none."""
        if observation.probs is not None and self.rule.counts(observation):
            self._smooth(observation.probs, now)
        elif now - self._smoothed_s > self.settings.hang_s:
            self._smoothed = None
        smoothed = self._smoothed if self._smoothed_s == now else None
        leader = max(smoothed, key=smoothed.__getitem__) if smoothed else None
        if smoothed and leader and smoothed[leader] < self.settings.enter:
            leader = None
        if leader != self._leader:
            self._leader, self._leading_since_s = leader, now

    def _smooth(self, probs: Probabilities, now: float) -> None:
        if self._smoothed is None:
            self._smoothed = dict(probs)
        else:
            passed = now - self._smoothed_s
            keep = math.exp(-passed / self.settings.smoothing_s) if self.settings.smoothing_s else 0.0
            self._smoothed = {name: keep * self._smoothed[name] + (1 - keep) * probs[name] for name in self._smoothed}
        self._smoothed_s = now

    def _confidence(self) -> float:
        """Return the smoothed probability of the emotion held."""
        return self._smoothed[self._open.label] if self._smoothed and self._open else 0.0

    def _winner(self, now: float) -> str | None:
        """Return the emotion that has led for `dwell_s` without a break, if there is one."""
        return self._leader if now - self._leading_since_s >= self.settings.dwell_s else None

    def _is_over(self, now: float, winner: str | None) -> bool:
        """Return whether the emotion held ends now."""
        assert self._open is not None
        faded = self._confidence() < self.settings.exit
        unclaimed = now - self._claimed_s > self.settings.hang_s
        return faded or unclaimed or winner not in (None, self._open.label)

    def _start(self, time: float, now: float, label: str, previous: str | None) -> Started:
        self._open = _Open(label, now, 0.0)
        self._since = time
        return Started(time, label, previous, self._confidence(), now)

    def _end(self, time: float, now: float) -> Ended:
        assert self._open is not None
        ended = Ended(time, self._open.label, max(0.0, now - self._open.start_s), self._open.peak)
        self._open = None
        self._since = time
        return ended

    def _leaning(self) -> str | None:
        """Return the likeliest label of the newest window's speech while no emotion is held."""
        if self._open or not self._smoothed or self._smoothed_s != self._clock_s:
            return None
        return max(self._smoothed, key=self._smoothed.__getitem__)

    def _output(self, ended: Ended | None, started: Started | None) -> TrackerOutput:
        assert self._since is not None
        return TrackerOutput(
            label=self._open.label if self._open else None,
            confidence=self._confidence() if self._open else None,
            since=self._since,
            smoothed=dict(self._smoothed) if self._smoothed is not None else None,
            ended=ended,
            started=started,
            leaning=self._leaning(),
        )
