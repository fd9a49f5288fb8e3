"""Raw audio on its way to a model: the shape, the channels and the sample rate that it asks for."""

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

MAX_CHANNELS = 2  # what EnCodec's own `encode` accepts


class AudioConversionWarning(UserWarning):
    """The audio did not have the model's rate or channels and was converted."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The audio that a model takes."""

    sample_rate: int  # Hz
    channels: int

    def __str__(self) -> str:
        return f"{self.sample_rate:,} Hz {channel_name(self.channels)}"


def channel_name(channels: int) -> str:
    """1 is mono, 2 is stereo."""
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")


def audio_format(model: "EncodecModel | Encoder") -> AudioFormat:
    """What `model` takes: 24 kHz mono or 48 kHz stereo for the package's models, 24 kHz mono for `Encoder`."""
    if isinstance(model, Encoder):
        return AudioFormat(SAMPLE_RATE, 1)
    return AudioFormat(model.sample_rate, model.channels)


def convert_audio(audio: Tensor, sample_rate: int, model: "EncodecModel | Encoder") -> Tensor:
    """`audio: [B, C, T]` at `sample_rate` Hz as `model` takes it, with a warning that says what was changed.

    Channels as EnCodec's `convert_audio` does it: stereo becomes mono by the mean, mono becomes stereo twice the same.
    Rates by soxr in high quality, on the CPU and without a gradient.

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
    """Raises ValueError, saying what `[B, C, T]` should have been, where `audio` has another shape."""
    shape = list(audio.shape)
    expected = (
        f"[B, {wanted.channels}, T]: recordings, {channel_name(wanted.channels)}, samples at {wanted.sample_rate:,} Hz"
    )
    if audio.dim() == 1:
        raise ValueError(f"Audio must be {expected}; got {shape}, audio[None, None] makes it [1, 1, {shape[0]}].")
    if audio.dim() == 2:
        raise ValueError(
            f"Audio must be {expected}; got {shape}: add the recordings in front with audio[None] "
            "or the channel in the middle with audio[:, None]."
        )
    if audio.dim() != 3:
        raise ValueError(f"Audio must be {expected}; got {shape}.")
    if not 1 <= audio.shape[1] <= MAX_CHANNELS:
        cure = "; audio.transpose(1, 2) puts channels before samples" if shape[2] in (1, 2) else ""
        raise ValueError(f"Audio must be {expected}; got {shape}, that is {shape[1]} channels{cure}.")
    if not audio.is_floating_point():
        raise ValueError(f"Audio must be float in [-1, 1]; got {audio.dtype}: divide 16-bit integers by 32,768.")


def _mix(audio: Tensor, channels: int) -> Tensor:
    """`[B, C, T]` to `[B, channels, T]`."""
    if audio.shape[1] == channels:
        return audio
    return audio.mean(dim=1, keepdim=True) if channels == 1 else audio.expand(-1, channels, -1)


def _resample(audio: Tensor, rate: int, wanted: int) -> Tensor:
    """`[B, C, T]` to `[B, C, round(T * wanted / rate)]`."""
    if rate == wanted:
        return audio
    batch, channels, samples = audio.shape
    flat = audio.detach().to("cpu", torch.float32).reshape(batch * channels, samples)
    resampled = [torch.from_numpy(soxr.resample(row.numpy(), rate, wanted)) for row in flat]
    return torch.stack(resampled).reshape(batch, channels, -1).to(audio.device, audio.dtype)
