"""What is computed once per work folder: decoded audio, and features below the layers that learn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.arrays import Samples
from streamer.audio.files import READER_VERSION
from streamer.audio.front_end import front_end_identity, normalize_batch
from streamer.codec import Encoder
from streamer.codec.layers import CausalConv1d, ResidualBlock
from streamer.constants import SAMPLE_RATE
from streamer.corpora.array_store import RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.augment import Augmentation, generator, non_speech
from streamer.corpora.corpus import Clip
from streamer.corpora.speed_versions import SpeedVersions
from streamer.emotion.model import EmotionDetectionModel
from streamer.progress import Progress

LSTM_LAYER = 13  # of `Encoder.model`; below it are convolutions alone
DEEP_LAYER = 10  # the residual block of 256 channels at 600 Hz = 75 Hz x 8
STEM_DIMS = {LSTM_LAYER: 512, DEEP_LAYER: 8 * 256}  # values per frame at each cut


def stem(encoder: Encoder, audio: Tensor, dtype: torch.dtype = torch.float32, end: int = LSTM_LAYER) -> Tensor:
    """What layer `end` would be given: levelled audio `[B, T]`, T whole hops of 320, to `[B, T / 320, D]` in `dtype`."""
    x = audio.to(dtype)[:, None, None].contiguous(memory_format=torch.channels_last)  # [B, 1, 1, T]
    x = _convolutions(encoder, x, 0, end)
    return x[:, :, 0].transpose(1, 2).reshape(len(x), audio.shape[1] // 320, -1)


def upper(encoder: Encoder, features: Tensor, dtype: torch.dtype = torch.float32, begin: int = LSTM_LAYER) -> Tensor:
    """What `stem` gave, `[B, F, D]` with F >= 1, through the layers from `begin` on to frames `[B, 128, F]` float32."""
    features = features.to(dtype)
    if begin < LSTM_LAYER:
        batch_size, frames, width = features.shape
        channels = STEM_DIMS[begin] // 8
        x = features.reshape(batch_size, frames * width // channels, channels)  # [B, 8F, 256]
        x = _convolutions(encoder, x.transpose(1, 2)[:, :, None], begin, LSTM_LAYER)
        features = x[:, :, 0].transpose(1, 2)
    lstm, activate, last = list(encoder.model)[LSTM_LAYER:]
    with torch.autocast(features.device.type, dtype, enabled=dtype != torch.float32):
        frames_out: Tensor = last(activate(lstm(features)))
    return frames_out.transpose(1, 2).float()


def upper_modules(encoder: Encoder, begin: int = LSTM_LAYER) -> list[nn.Module]:
    """The layers of `upper`."""
    return list(encoder.model)[begin:]


def _convolutions(encoder: Encoder, x: Tensor, begin: int, end: int) -> Tensor:
    """`[B, C, 1, T]` through layers `begin` to `end`."""
    for layer in list(encoder.model)[begin:end]:
        if isinstance(layer, CausalConv1d):
            x = _convolve(layer, x)
        elif isinstance(layer, ResidualBlock):
            x = _residual(layer, x)
        else:
            x = F.elu(x)
    return x


def _residual(block: ResidualBlock, x: Tensor) -> Tensor:
    _, conv, _, pointwise = block.block
    assert isinstance(conv, CausalConv1d)
    assert isinstance(pointwise, CausalConv1d)
    return _convolve(block.shortcut, x) + _convolve(pointwise, F.elu(_convolve(conv, F.elu(x))))


def _convolve(layer: CausalConv1d, x: Tensor) -> Tensor:
    """A causal convolution over `[B, C, 1, T]`, mirrored at the left edge."""
    conv = layer.conv.conv
    if layer.context:
        x = F.pad(x, (layer.context, 0, 0, 0), mode="reflect")
    weight = conv.weight.to(x.dtype)[:, :, None].contiguous(memory_format=torch.channels_last)
    bias = None if conv.bias is None else conv.bias.to(x.dtype)
    return F.conv2d(x, weight, bias, (1, layer.stride))


T = TypeVar("T")

_NON_SPEECH_SAMPLES = 4 * SAMPLE_RATE
_STEM_BATCH = 8
_DECODED_AT_ONCE = 64


class StemStore:
    """What lies below the layers that learn, of clips (version 0 clean, the others augmented) and of sound without a voice.

    The files' names hold a digest of all that decides what is in them: weights, front end, seed and augmentations; those
    of augmented versions also of who talks behind them, so that no run hears in the babble whom it tests.

    Args:
        folder: where the files are.
        model: whose encoder's lower layers give the features, after its high-pass.
        voices: the clips and their versions.
        cut: the first layer that learns, a key of STEM_DIMS.
        seed: of the augmentations.
        changes: what happens to a version on its way to the microphone.
        talkers: keys of the recordings that babble is made of.
    """

    def __init__(
        self,
        folder: Path,
        model: EmotionDetectionModel,
        voices: SpeedVersions,
        cut: int,
        seed: int,
        changes: Augmentation,
        talkers: Sequence[str],
    ) -> None:
        self.voices, self._cut, self._seed, self._changes, self._talkers = voices, cut, seed, changes, talkers
        self._highpass_hz = model.highpass_hz
        weights = fingerprint_of_weights(
            parameter for layer in list(model.encoder.model)[:cut] for parameter in layer.parameters()
        )
        front_end = front_end_identity(model.highpass_hz)
        name, width = f"stem-{fingerprint(weights, *front_end, READER_VERSION, seed, changes)}", STEM_DIMS[cut]
        behind = fingerprint(*talkers)
        names = [f"{name}-0", *(f"{name}-{behind}-{version}" for version in range(1, voices.versions))]
        self.versions = [RaggedStore(folder / one, width) for one in names]
        self.non_speech = RaggedStore(folder / f"{name}-non-speech", width)

    def prepare(
        self,
        encoder: Encoder,
        learning: Sequence[Clip],
        others: Sequence[Clip],
        non_speech_clips: int,
        dtype: torch.dtype,
        progress: Progress[int],
    ) -> None:
        """Compute what is not there yet: every version of the clips to learn from, the clean one of the others."""
        keys = [clip.key for clip in learning]
        audio = self.voices.audio
        talkers = tuple(audio[key] for key in self._talkers)
        for version, store in enumerate(self.versions):
            wanted = keys if version else [*keys, *(clip.key for clip in others)]
            left = sorted((key for key in wanted if key not in store), key=audio.frames)

            def heard(key: str, version: int = version) -> Samples:
                spoken = self.voices.spoken(self.voices.name(key, version))
                return self._changes(spoken, generator(self._seed, version, key), talkers) if version else spoken

            self._fill(store, left, heard, encoder, dtype, progress, f"features {version + 1}/{len(self.versions)}")
        quiet = [f"non-speech/{number:04d}" for number in range(non_speech_clips)]
        left = [key for key in quiet if key not in self.non_speech]

        def synthesise(key: str) -> Samples:
            return non_speech(_NON_SPEECH_SAMPLES, generator(self._seed, 0, key))

        self._fill(self.non_speech, left, synthesise, encoder, dtype, progress, "features of noise and music")

    def _fill(
        self,
        store: RaggedStore,
        keys: Sequence[str],
        heard: Callable[[str], Samples],
        encoder: Encoder,
        dtype: torch.dtype,
        progress: Progress[int],
        what: str,
    ) -> None:
        device = next(encoder.parameters()).device
        for first in progress(range(0, len(keys), _STEM_BATCH), what):
            batch = keys[first : first + _STEM_BATCH]
            levelled = normalize_batch([heard(key) for key in batch], self._highpass_hz)
            with torch.no_grad():
                features = stem(encoder, torch.from_numpy(levelled[0]).to(device), dtype, self._cut)
            for key, row, frames in zip(batch, features.float().cpu().numpy(), levelled[1], strict=True):
                store.append(key, row[:frames])
