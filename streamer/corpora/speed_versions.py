"""Speed-perturbed versions of each clip; version 0 is the original."""

from streamer.arrays import Samples
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation, generator, speed


class SpeedVersions:
    """Clips as they were recorded (version 0), and spoken by somebody of another size (the others).

    A version has a name: the clip's key where it is spoken as recorded, else `key@version`.

    Args:
        audio: the recordings.
        versions: of each clip, the recorded one included.
        seed: of the paces.
        changes: how likely a version is spoken faster or slower, and by how much.
    """

    def __init__(self, audio: AudioStore, versions: int, seed: int, changes: Augmentation) -> None:
        self.audio, self.versions, self._seed, self._changes = audio, versions, seed, changes

    @property
    def identity(self) -> str:
        """What decides how a version sounds."""
        return repr((self._seed, self._changes.speed, self._changes.pace))

    def pace(self, key: str, version: int) -> float:
        """How many seconds of the recording are spoken in one second."""
        rng = generator(self._seed, version, f"{key} pace")
        return float(rng.uniform(*self._changes.pace)) if version and rng.random() < self._changes.speed else 1.0

    def name(self, key: str, version: int) -> str:
        """Under which the version's sound is known."""
        return key if self.pace(key, version) == 1.0 else f"{key}@{version}"

    def names(self, key: str) -> list[str]:
        """Of all versions that sound different, the recorded one first."""
        return list(dict.fromkeys([key, *(self.name(key, version) for version in range(1, self.versions))]))

    def spoken(self, name: str) -> Samples:
        """`[T]` at 24 kHz."""
        if name in self.audio:
            return self.audio[name]
        key, _, version = name.rpartition("@")
        return speed(self.audio[key], self.pace(key, int(version)))
