"""EnCodec's continuous embeddings of whole recordings, before quantisation.

They equal those inside `EncodecModel.encode`: Défossez et al., "High Fidelity Neural Audio Compression", 2022 (arXiv
2210.13438), section 3.1. The 48 kHz model first cuts the audio into segments of 1 s that overlap by 1 % and divides
each by its RMS level.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from streamer.codec.encoder import Encoder
from streamer.codec.waveform import audio_format, check_shape, convert_audio
from streamer.constants import EMBEDDING_DIM

if TYPE_CHECKING:
    from encodec.model import EncodecModel


@dataclass(frozen=True, slots=True)
class Segment:
    """Embeddings of one segment; for a model without segments, of the whole recording."""

    embeddings: Tensor  # [B, 128, F]
    scale: Tensor | None  # [B, 1] the RMS level that the audio was divided by; None if the model does not normalise


def encoder_embeddings(
    model: "EncodecModel | Encoder", audio: Tensor, sample_rate: int | None = None
) -> Tensor | list[Tensor]:
    """Return the continuous embeddings of `audio`, before quantisation.

    The audio goes in as it is. `EmotionDetectionModel.get_embeddings` puts it through high-pass and level normaliser
    first, as the monitor does, so the two differ even with the same encoder.

    Args:
        model: a model of the `encodec` package, or an `Encoder`.
        audio: `[B, 1, T]` mono for the 24 kHz model, `[B, 2, T]` stereo for the 48 kHz one, float in [-1, 1]. The other
            channel count is converted, with an `AudioConversionWarning`.
        sample_rate: of `audio`, in Hz, if it is not the model's: the audio is then resampled, with the same warning.

    Returns:
        `[B, 128, ceil(T / 320)]` for the 24 kHz model, 75 frames a second. For the 48 kHz model a list of one such
        tensor per segment of 1 s (150 frames), the segments starting every 47,520 samples (0.99 s) as its `encode`
        makes them: ceil(T / 47,520) segments. So exactly one second, 48,000 samples, is two: 150 frames, and 2 of the
        480 samples that are left, 152 in all. Each segment is divided by its own RMS level.
        Gradients flow back to the model; wrap the call in `torch.no_grad()` where they are not wanted.

    Raises:
        ValueError: the shape is wrong; the message names the expected `[B, C, T]`.
    """
    return per_segment(model, [segment.embeddings for segment in encode_segments(model, audio, sample_rate)])


def encode_segments(
    model: "EncodecModel | Encoder", audio: Tensor, sample_rate: int | None = None
) -> Iterator[Segment]:
    """Yield the embeddings segment by segment, with the `scale` that `EncodecModel.encode` returns.

    Arguments and errors are those of `encoder_embeddings`.
    """
    wanted = audio_format(model)
    check_shape(audio, wanted)
    audio = convert_audio(audio, sample_rate or wanted.sample_rate, model)
    if isinstance(model, Encoder):
        yield Segment(model(audio), scale=None)
        return
    length, stride = model.segment_length, model.segment_stride
    if length is None or stride is None:
        yield _encode(model, audio)
        return
    for begin in range(0, audio.shape[-1], stride):
        yield _encode(model, audio[..., begin : begin + length])


def per_segment(model: "EncodecModel | Encoder", values: list[Tensor]) -> Tensor | list[Tensor]:
    """Return `values`, one per segment, or the only value for a model that does not work in segments."""
    in_segments = not isinstance(model, Encoder) and model.segment_length is not None
    return values if in_segments else values[0]


def _encode(model: "EncodecModel", audio: Tensor) -> Segment:
    """Encode one segment `[B, C, S]`, prepared as by `EncodecModel._encode_frame`."""
    if audio.shape[-1] == 0:
        return Segment(audio.new_zeros(audio.shape[0], EMBEDDING_DIM, 0), scale=None)
    if not model.normalize:
        return Segment(model.encoder(audio), scale=None)
    mono = audio.mean(dim=1, keepdim=True)  # [B, 1, S]
    scale = mono.square().mean(dim=2, keepdim=True).sqrt() + 1e-8  # [B, 1, 1]; the constant is EnCodec's
    return Segment(model.encoder(audio / scale), scale.view(-1, 1))
