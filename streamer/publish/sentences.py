"""Say events in plain sentences, one for each change: for screen readers, and for terminals that cannot draw."""

import time
from dataclasses import dataclass, field

from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Info, Window

# What each status word means, for somebody who cannot see the screen's legend.
MEANINGS = {
    "starting": "the model loads",
    "warming": "the window fills",
    "live": "somebody speaks",
    "silence": "nobody speaks",
    "no signal": "only zeros come, so it is muted or withheld",
    "no device": "there is no such microphone",
    "mic lost": "the microphone is gone",
    "source lost": "nothing is delivered",
    "behind": "the machine does not keep up",
    "paused": "the device is closed",
    "ended": "the recording is over",
}
_PASSING = ("starting", "warming", "live", "silence")  # words that come and go with every pause
STEADY_S = 2.0  # so long one of those must last before it is said


@dataclass(slots=True)
class _Stream:
    said: str = ""  # the status word that was said last
    newest: str = ""
    since: float = 0.0  # when `newest` began, seconds since the epoch


@dataclass(slots=True)
class Sentences:
    """Turns events into sentences; an event that changes nothing worth saying is an empty one.

    Speech and silence alternate with every pause, so they are said once they have lasted for two seconds.
    """

    _streams: dict[str, _Stream] = field(default_factory=dict)
    _roster: tuple[str, ...] = ()

    def __call__(self, event: Event) -> str:
        """Return the sentence of `event`; empty where there is nothing new."""
        if isinstance(event, Info):
            new, self._roster = event.streams != self._roster, event.streams
            return f"{event.model} listens to {' and '.join(event.streams) or 'nothing yet'}." if new else ""
        if isinstance(event, EmotionStarted):
            return f"{_clock(event.time)} {event.stream}: {event.label}, {event.confidence:.0%} sure."
        if isinstance(event, EmotionEnded):
            return f"{_clock(event.time)} {event.stream}: {event.label} is over after {event.duration_s:.0f} seconds."
        if isinstance(event, Health):
            return self._status(event.stream, event.status, event.time)
        if isinstance(event, Window):
            return self._lasting(event.stream, event.time)
        return ""

    def _status(self, name: str, status: str, moment: float) -> str:
        stream = self._streams.setdefault(name, _Stream())
        if status != stream.newest:
            stream.newest, stream.since = status, moment
        return "" if status in _PASSING else self._say(name, stream, moment)

    def _lasting(self, name: str, moment: float) -> str:
        stream = self._streams.setdefault(name, _Stream())
        return self._say(name, stream, moment) if moment - stream.since >= STEADY_S else ""

    def _say(self, name: str, stream: _Stream, moment: float) -> str:
        if stream.newest in (stream.said, "", "starting", "warming"):
            return ""
        stream.said = stream.newest
        return f"{_clock(moment)} {name}: {stream.newest}, {MEANINGS.get(stream.newest, 'see the help')}."


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
