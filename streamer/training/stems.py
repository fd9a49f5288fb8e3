"""Cached features below the cut (stems): computed once per work folder, for each clip and its augmented versions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamer.arrays import Samples
from streamer.audio.front_end import front_end_identity, normalize_batch
from streamer.codec import Encoder
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.corpora.array_store import Array, RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import generator, non_speech, speed
from streamer.corpora.corpus import Clip
from streamer.corpora.speed_versions import SpeedVersions
from streamer.decoding.files import READER_VERSION
from streamer.emotion.model import EmotionDetectionModel
from streamer.progress import Progress
from streamer.training.encoder_parts import STEM_DIMS, lower_layers

_NON_SPEECH_SAMPLES = 4 * SAMPLE_RATE
_BATCH = 8  # recordings encoded at once
_BEFORE_S = 8.0  # of speech before a clip; the normaliser's memory is shorter


class StemStore:
    """Outputs of the frozen lower layers: of clips and of non-speech sounds.

    Even versions of a clip are levelled as a stream that begins with it, odd ones as in the middle of a stream, after
    other speech of the speaker: loud after quiet speech they stay loud. The first two are clean, the others augmented.

    The files' names hold a digest of all that decides their content: weights, front end, seed and augmentation; those
    of augmented versions also of the recordings that babble is mixed from, so that no run has its test speakers in it.

    Args:
        folder: where the files are.
        model: its encoder's lower layers are used, after its high-pass.
        speeds: the clips and their speed versions; every version but the first is augmented, by the same seed.
        cut: the first layer that is trained, a key of STEM_DIMS.
        babble: keys of the recordings that babble noise is mixed from.
        dtype: of the arithmetic; what bfloat16 computed is stored in it, the rest in float16.
    """

    def __init__(
        self,
        folder: Path,
        model: EmotionDetectionModel,
        speeds: SpeedVersions,
        cut: int,
        babble: Sequence[str],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.speeds, self._cut, self._babble = speeds, cut, babble
        seed, augmentation = speeds.seed, speeds.augmentation
        self._highpass_hz, self._dtype = model.highpass_hz, dtype
        weights = fingerprint_of_weights(
            parameter for layer in list(model.encoder.model)[:cut] for parameter in layer.parameters()
        )
        short = dtype == torch.bfloat16
        stored, identity = (np.uint16, ("bfloat16",)) if short else (np.float16, ())
        front_end = front_end_identity(model.highpass_hz)
        name = f"stem-{fingerprint(weights, *front_end, READER_VERSION, seed, augmentation, *identity)}"
        width = STEM_DIMS[cut]
        in_streams = fingerprint(*babble, _BEFORE_S)
        names = [f"{name}-0", *(f"{name}-{in_streams}-{version}" for version in range(1, speeds.versions))]
        self.versions = [RaggedStore(folder / one, width, stored) for one in names]
        self.non_speech = RaggedStore(folder / f"{name}-non-speech", width, stored)

    def prepare(
        self,
        encoder: Encoder,
        train: Sequence[Clip],
        held_out: Sequence[Clip],
        noises: int,
        progress: Progress[int],
    ) -> None:
        """Compute what the files lack.

        Args:
            encoder: its lower layers are run, on their device.
            train: clips of which every version is needed.
            held_out: clips of which the clean version is needed.
            noises: number of non-speech sounds.
            progress: shows the progress of each loop.
        """
        keys = [clip.key for clip in train]
        audio = self.speeds.audio
        babble = tuple(audio[key] for key in self._babble)
        others = _SpeechBefore(train, audio)
        for version, store in enumerate(self.versions):
            wanted = keys if version else [*keys, *(clip.key for clip in held_out)]
            left = sorted((key for key in wanted if key not in store), key=audio.frames)

            def render(key: str, version: int = version) -> tuple[Samples, Samples]:
                samples = self.speeds.samples(self.speeds.name(key, version))
                rng = generator(self.speeds.seed, version, key)
                pace = self.speeds.pace(key, version)
                before = others.draw(key, pace, rng) if version % 2 else samples[:0]
                if version < 2:
                    return before, samples
                augmented = self.speeds.augmentation(np.concatenate([before, samples]), rng, babble)
                return augmented[: len(before)], augmented[len(before) :]

            self._fill(store, left, render, encoder, progress, f"features {version + 1}/{len(self.versions)}")
        sounds = [f"non-speech/{number:04d}" for number in range(noises)]
        left = [key for key in sounds if key not in self.non_speech]

        def synthesise(key: str) -> tuple[Samples, Samples]:
            sound = non_speech(_NON_SPEECH_SAMPLES, generator(self.speeds.seed, 0, key))
            return sound[:0], sound

        self._fill(self.non_speech, left, synthesise, encoder, progress, "features of noise and music")

    def _fill(
        self,
        store: RaggedStore,
        keys: Sequence[str],
        render: Callable[[str], tuple[Samples, Samples]],
        encoder: Encoder,
        progress: Progress[int],
        title: str,
    ) -> None:
        """Append the features of the audio that `render` returns for each key, after what is only levelled with it."""
        device = next(encoder.parameters()).device
        for first in progress(range(0, len(keys), _BATCH), title):
            batch = keys[first : first + _BATCH]
            before, recordings = zip(*map(render, batch), strict=True)
            levelled, counts = normalize_batch(recordings, self._highpass_hz, before)
            with torch.no_grad():
                features = lower_layers(encoder, torch.from_numpy(levelled).to(device), self._dtype, self._cut).cpu()
            stored = features.view(torch.uint16) if self._dtype == torch.bfloat16 else features
            for key, row, frames in zip(batch, stored.numpy(), counts, strict=True):
                store.append(key, row[:frames])


class _SpeechBefore:
    """Draws what a speaker said before a clip: other clips, about half of them neutral, as live speech mostly is."""

    def __init__(self, clips: Sequence[Clip], audio: AudioStore) -> None:
        self._audio, self._speaker_of = audio, {clip.key: clip.speaker_id for clip in clips}
        self._clips: dict[str, list[Clip]] = {}
        for clip in clips:
            self._clips.setdefault(clip.speaker_id, []).append(clip)

    def draw(self, key: str, pace: float, rng: np.random.Generator) -> Samples:
        """Draw whole frames, about _BEFORE_S of clips, played at a pace."""
        own = self._clips[self._speaker_of[key]]
        neutral = [clip for clip in own if clip.label == "neutral"] or own
        drawn: list[Samples] = []
        while sum(map(len, drawn)) < _BEFORE_S * SAMPLE_RATE:
            some = neutral if rng.random() < 0.5 else own
            drawn.append(self._audio[some[rng.integers(len(some))].key])
        joined = np.concatenate(drawn)[-round(_BEFORE_S * SAMPLE_RATE) :]
        heard = joined if pace == 1.0 else speed(joined, pace)
        return heard[len(heard) % FRAME_SAMPLES :]


def as_tensor(stored: Array) -> Tensor:
    """Return stored features as a tensor of the type that they were computed in, or float16: a copy."""
    values = torch.from_numpy(np.array(stored))
    return values.view(torch.bfloat16) if values.dtype == torch.uint16 else values
