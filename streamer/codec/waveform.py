"""Check and convert audio to the shape, channel count and sample rate of a model."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import soxr
import torch
from torch import Tensor

from streamer.codec.encoder import Encoder
from streamer.constants import SAMPLE_RATE

if TYPE_CHECKING:
    from encodec.model import EncodecModel

MAX_CHANNELS = 2  # the most that EnCodec's own `encode` accepts


class AudioConversionWarning(UserWarning):
    """The audio did not have the model's sample rate or channel count and was converted."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Sample rate and channel count of audio."""

    sample_rate: int  # Hz
    channels: int

    def __str__(self) -> str:
        return f"{self.sample_rate:,} Hz {channel_name(self.channels)}"


def channel_name(channels: int) -> str:
    """Return `mono`, `stereo` or `n channels`."""
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")


def audio_format(model: "EncodecModel | Encoder") -> AudioFormat:
    """Return the input format: 24 kHz mono or 48 kHz stereo for `encodec` models, 24 kHz mono for `Encoder`."""
    if isinstance(model, Encoder):
        return AudioFormat(SAMPLE_RATE, 1)
    return AudioFormat(model.sample_rate, model.channels)


def convert_audio(audio: Tensor, sample_rate: int, model: "EncodecModel | Encoder") -> Tensor:
    """Convert `audio: [B, C, T]` at `sample_rate` Hz to the input format of `model`, with a warning if it changes.

    Channels are converted as by EnCodec's `convert_audio`: stereo to mono by the mean, mono to stereo by duplication.
    Sample rates are converted by soxr in high quality, on the CPU and without a gradient.

    Raises:
        ValueError: `audio` is not `[B, C, T]` with one or two channels, or the rate is not positive.
    """
    wanted = audio_format(model)
    check_shape(audio, wanted)
    if sample_rate <= 0:
        raise ValueError(f"A sample rate is a positive number of Hz, not {sample_rate}.")
    given = AudioFormat(sample_rate, audio.shape[1])
    if given == wanted:
        return audio
    warnings.warn(f"Audio of {given} was converted to {wanted}.", AudioConversionWarning, stacklevel=2)
    return _resample(_mix(audio, wanted.channels), sample_rate, wanted.sample_rate)


def check_shape(audio: Tensor, wanted: AudioFormat) -> None:
    """Raise ValueError if `audio` is not floats of shape `[B, C, T]`; the message names the expected shape."""
    shape = list(audio.shape)
    expected = (
        f"[B, {wanted.channels}, T]: recordings, {channel_name(wanted.channels)}, samples at {wanted.sample_rate:,} Hz"
    )
    if audio.dim() == 1:
        raise ValueError(f"Audio must be {expected}; got {shape}, audio[None, None] makes it [1, 1, {shape[0]}].")
    if audio.dim() == 2:
        raise ValueError(
            f"Audio must be {expected}; got {shape}: add a batch dimension with audio[None] "
            "or a channel dimension with audio[:, None]."
        )
    if audio.dim() != 3:
        raise ValueError(f"Audio must be {expected}; got {shape}.")
    if not 1 <= audio.shape[1] <= MAX_CHANNELS:
        cure = "; audio.transpose(1, 2) puts channels before samples" if shape[2] in (1, 2) else ""
        raise ValueError(f"Audio must be {expected}; got {shape}, that is {shape[1]} channels{cure}.")
    if not audio.is_floating_point():
        raise ValueError(f"Audio must be float in [-1, 1]; got {audio.dtype}: divide 16-bit integers by 32,768.")


def _mix(audio: Tensor, channels: int) -> Tensor:
    """Mix or duplicate the channels of `[B, C, T]` to `[B, channels, T]`."""
    if audio.shape[1] == channels:
        return audio
    return audio.mean(dim=1, keepdim=True) if channels == 1 else audio.expand(-1, channels, -1)


def _resample(audio: Tensor, rate: int, wanted: int) -> Tensor:
    """Resample `[B, C, T]` to `[B, C, round(T * wanted / rate)]`."""
    if rate == wanted:
        return audio
    batch, channels, samples = audio.shape
    flat = audio.detach().to("cpu", torch.float32).reshape(batch * channels, samples)
    resampled = [torch.from_numpy(soxr.resample(row.numpy(), rate, wanted)) for row in flat]
    return torch.stack(resampled).reshape(batch, channels, -1).to(audio.device, audio.dtype)
