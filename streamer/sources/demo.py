"""The bundled recording: synthetic voices, with captions that say who is heard and how it is meant."""

import json
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from streamer.audio.resample import Block
from streamer.decoding.recording import Recording

DEMO = Path(__file__).with_name("synthetic-speech.ogg")  # made by tests/sources/make_demo.py, as are the captions
WHAT_IT_IS = (
    "Synthetic voices: expect wrong labels, since the model learnt from people; it shows how the program works."
)


@dataclass(frozen=True, slots=True)
class Caption:
    """A stretch of the recording."""

    start_s: float
    end_s: float
    shown: str  # on the screen: "flite slt, meant to sound sad"
    mood: str = ""  # the label that is meant; empty where nobody speaks
    voice: str = ""  # synthesizer and voice
    text: str = ""  # what is said


def captions() -> tuple[Caption, ...]:
    """Return the captions of the whole recording, in order."""
    return tuple(Caption(**line) for line in json.loads(DEMO.with_suffix(".json").read_text(encoding="utf-8")))


class Demo:
    """Implements `playback.BlockReader` for the bundled recording; with `loop` it repeats for ever.

    Its device is what is heard at this moment, so that the screen can show label and intention beside each other.
    """

    arrived_s = float("inf")  # a file is always there

    def __init__(self, loop: bool = False) -> None:
        self._recording = Recording(DEMO, loop=loop)
        self._captions = captions()
        self._starts_s = [caption.start_s for caption in self._captions]
        self._frames = 0  # read so far, over all repetitions

    @property
    def device(self) -> str:
        """What is heard now."""
        recording = self._recording
        length_s = recording.stated_s or 0.0
        if not length_s or not recording.rate_hz:
            return "synthetic voices"
        at = bisect_right(self._starts_s, self._frames / recording.rate_hz % length_s)
        return f"synthetic voices: {self._captions[max(0, at - 1)].shown}"

    @property
    def rate_hz(self) -> float:
        """The recording's sample rate."""
        return self._recording.rate_hz

    @property
    def channels(self) -> int:
        """One."""
        return self._recording.channels

    @property
    def notice(self) -> str:
        """Nothing is ever repaired in it."""
        return self._recording.notice

    @property
    def problem(self) -> str:
        """What could not be read of it; empty when the installation is whole."""
        return self._recording.problem

    def open(self) -> None:
        """Open the recording."""
        self._recording.open()

    def read(self, frames: int) -> Block | None:
        """Return the next frames, [n, 1]; None at the end."""
        block = self._recording.read(frames)
        self._frames += 0 if block is None else len(block)
        return block

    def close(self) -> None:
        """Release it."""
        self._recording.close()
