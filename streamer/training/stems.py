"""Cached features below the cut (stems): computed once per work folder, for each clip and its augmented versions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamer.arrays import Samples
from streamer.audio.front_end import front_end_identity, normalize_batch
from streamer.codec import Encoder
from streamer.constants import SAMPLE_RATE
from streamer.corpora.array_store import Array, RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.augment import generator, non_speech
from streamer.corpora.corpus import Clip
from streamer.corpora.speed_versions import SpeedVersions
from streamer.decoding.files import READER_VERSION
from streamer.emotion.model import EmotionDetectionModel
from streamer.progress import Progress
from streamer.training.encoder_parts import STEM_DIMS, lower_layers

_NON_SPEECH_SAMPLES = 4 * SAMPLE_RATE
_BATCH = 8  # recordings encoded at once


class StemStore:
    """Outputs of the frozen lower layers: of clips (version 0 clean, the others augmented) and of non-speech sounds.

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
        babble_name = fingerprint(*babble)
        names = [f"{name}-0", *(f"{name}-{babble_name}-{version}" for version in range(1, speeds.versions))]
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
        for version, store in enumerate(self.versions):
            wanted = keys if version else [*keys, *(clip.key for clip in held_out)]
            left = sorted((key for key in wanted if key not in store), key=audio.frames)

            def render(key: str, version: int = version) -> Samples:
                samples = self.speeds.samples(self.speeds.name(key, version))
                if version == 0:
                    return samples
                return self.speeds.augmentation(samples, generator(self.speeds.seed, version, key), babble)

            self._fill(store, left, render, encoder, progress, f"features {version + 1}/{len(self.versions)}")
        sounds = [f"non-speech/{number:04d}" for number in range(noises)]
        left = [key for key in sounds if key not in self.non_speech]

        def synthesise(key: str) -> Samples:
            return non_speech(_NON_SPEECH_SAMPLES, generator(self.speeds.seed, 0, key))

        self._fill(self.non_speech, left, synthesise, encoder, progress, "features of noise and music")

    def _fill(
        self,
        store: RaggedStore,
        keys: Sequence[str],
        render: Callable[[str], Samples],
        encoder: Encoder,
        progress: Progress[int],
        title: str,
    ) -> None:
        """Append the features of the audio that `render` returns for each key."""
        device = next(encoder.parameters()).device
        for first in progress(range(0, len(keys), _BATCH), title):
            batch = keys[first : first + _BATCH]
            levelled, counts = normalize_batch([render(key) for key in batch], self._highpass_hz)
            with torch.no_grad():
                features = lower_layers(encoder, torch.from_numpy(levelled).to(device), self._dtype, self._cut).cpu()
            stored = features.view(torch.uint16) if self._dtype == torch.bfloat16 else features
            for key, row, frames in zip(batch, stored.numpy(), counts, strict=True):
                store.append(key, row[:frames])


def as_tensor(stored: Array) -> Tensor:
    """Return stored features as a tensor of the type that they were computed in, or float16: a copy."""
    values = torch.from_numpy(np.array(stored))
    return values.view(torch.bfloat16) if values.dtype == torch.uint16 else values
