"""Mix the channels of a source to mono, and notice where the mix cancels what the channels hold.

A microphone with one wire crossed, a balanced output on a stereo input, or a "widened" recording has its channels in
opposite phase: each holds the sound, and their mean is silence.
"""

import numpy as np

from streamer.arrays import Float64Array, Samples
from streamer.audio.resample import Block, to_mono

AUDIBLE = 10 ** (-60 / 10)  # mean power of the channels below which a block says nothing about their phase
CANCELS = 10 ** (-20 / 10)  # of the channels' mean power; independent channels leave 1 / channels, and one alone too
EVIDENCE_FRAMES = 4_800  # audible ones: 0.1 s at 48 kHz, 0.3 s at 16 kHz
MEMORY_FRAMES = 24_000  # the energies fade over so many: 0.5 s at 48 kHz


class Downmix:
    """Mixes one source's blocks to mono: the mean of the channels, or one of them.

    Where the mean is more than 20 dB below the channels, the loudest channel is taken from that block on, and `notice`
    tells so. With `channel` given, that one is taken.
    """

    def __init__(self, channel: int | None = None) -> None:
        self._channel = channel
        self._begin(0)

    def _begin(self, channels: int) -> None:
        self._taken: int | None = None  # the channel taken because the mix cancels
        self._energies: Float64Array = np.zeros(channels)  # of each channel
        self._mix_energy = 0.0
        self._audible_frames = 0

    @property
    def notice(self) -> str:
        """One sentence where the mix cancels; empty where it does not."""
        if self._taken is None:
            return ""
        return (
            f"The channels cancel each other when they are mixed (one has the opposite polarity), so only channel "
            f"{self._taken} is used; set `channel`, or check the cable."
        )

    def process(self, block: Block) -> Samples:
        """Return `block` ([n, channels] int16 or float32) as mono: [n] float32 in [-1, 1]."""
        channels = block.shape[1]
        if self._channel is not None or channels == 1:
            return to_mono(block, self._channel)
        if channels != len(self._energies):
            self._begin(channels)
        mono = to_mono(block, self._taken)
        if self._taken is None and len(block):
            self._measure(block, mono)
            if self._cancels():
                self._taken = int(np.argmax(self._energies))
                mono = to_mono(block, self._taken)
        return mono

    def _measure(self, block: Block, mix: Samples) -> None:
        frames = len(block)
        energies = np.array([np.dot(samples, samples) for samples in map(to_mono, _columns(block))], dtype=np.float64)
        if not energies.mean() > AUDIBLE * frames:  # also where one is not a number
            return
        kept = max(0.0, 1 - frames / MEMORY_FRAMES)
        self._energies = kept * self._energies + energies
        self._mix_energy = kept * self._mix_energy + float(np.dot(mix, mix))
        self._audible_frames += frames

    def _cancels(self) -> bool:
        return self._audible_frames >= EVIDENCE_FRAMES and self._mix_energy < CANCELS * float(np.mean(self._energies))


def _columns(block: Block) -> list[Block]:
    """Return the channels of `block` as [n, 1] each."""
    return [block[:, i : i + 1] for i in range(block.shape[1])]
