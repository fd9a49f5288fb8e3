"""Speed-perturbed versions of each clip; versions 0 and 1 are the original."""

from streamer.arrays import Samples
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation, generator, speed


class SpeedVersions:
    """Clips at their recorded speed, and faster or slower ones, whose pitch and formants change alike.

    Versions 0 and 1 are as recorded: stems hear the first alone, and the second in the middle of a stream.

    A version has a name: the clip's key at the recorded speed, else `key@version`.

    Args:
        audio: the recordings.
        versions: number of each clip's versions, the recorded one included.
        seed: of the paces.
        augmentation: its `speed` is the probability that a version changes speed, and `pace` the limits.
    """

    def __init__(self, audio: AudioStore, versions: int, seed: int, augmentation: Augmentation) -> None:
        self.audio, self.versions, self.seed, self.augmentation = audio, versions, seed, augmentation

    @property
    def identity(self) -> str:
        """Everything that a version's samples depend on besides the recording; part of the names of files."""
        return repr((self.seed, self.augmentation.speed, self.augmentation.pace))

    def pace(self, key: str, version: int) -> float:
        """Return how many seconds of the recording pass in one second of the version."""
        rng = generator(self.seed, version, f"{key} pace")
        changed = version > 1 and rng.random() < self.augmentation.speed
        return float(rng.uniform(*self.augmentation.pace)) if changed else 1.0

    def name(self, key: str, version: int) -> str:
        """Return the name of a version."""
        return key if self.pace(key, version) == 1.0 else f"{key}@{version}"

    def names(self, key: str) -> list[str]:
        """Return the names of all different versions, the recorded one first."""
        return list(dict.fromkeys([key, *(self.name(key, version) for version in range(1, self.versions))]))

    def samples(self, name: str) -> Samples:
        """Return the samples `[T]` of the version `name`, at 24 kHz."""
        if name in self.audio:
            return self.audio[name]
        key, _, version = name.rpartition("@")
        return speed(self.audio[key], self.pace(key, int(version)))
