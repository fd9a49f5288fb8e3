"""EnCodec's residual vector quantiser: embeddings to codes and codes to embeddings, offline and streaming.

Zeghidour et al., "SoundStream", 2021 (arXiv 2107.03312), algorithm 1: each codebook's nearest codeword to the residual
that the codebooks before it left. The bandwidth sets the number of codebooks: codes of 10 bits at 75 frames a second
are 0.75 kbit/s per codebook, so 6 kbit/s take 8 codebooks.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from streamer.codec.embeddings import encode_segments, per_segment
from streamer.codec.streaming import StreamingEncoder
from streamer.constants import FRAME_RATE

if TYPE_CHECKING:
    from encodec.model import EncodecModel

DEFAULT_BANDWIDTH = 6.0  # kbit/s
BANDWIDTHS_24KHZ = (1.5, 3.0, 6.0, 12.0, 24.0)  # kbit/s
TIE = 1e-4  # codewords are tied if their distances differ by less than this, relative to the larger distance
BITS = 10  # per code; 2**10 = 1,024 codewords
NO_CODE = -1  # pads the rows of streams that returned fewer frames than others
_CODEBOOK_KEY = re.compile(r"quantizer\.(vq\.)?layers\.(?P<index>\d+)\._?codebook\.embed")


def quantized_codes(
    model: "EncodecModel", audio: Tensor, bandwidth: float = DEFAULT_BANDWIDTH, sample_rate: int | None = None
) -> Tensor | list[Tensor]:
    """Return the codes that `model.encode(audio)` returns at `bandwidth` kbit/s.

    It takes trained codebooks, which the checkpoints of this program do not have: use
    `encodec.EncodecModel.encodec_model_24khz()`, which fetches Meta's weights (93 MB).

    Args:
        model: a model of the `encodec` package; its own `bandwidth` is neither used nor changed.
        audio: as for `encoder_embeddings`.
        bandwidth: 1.5, 3, 6, 12 or 24 for the 24 kHz model; 3, 6, 12 or 24 for the 48 kHz one.
        sample_rate: of `audio`, in Hz, if it is not the model's.

    Returns:
        `[B, K, ceil(T / 320)] int64`, K codebooks with values from 0 to 1,023; a list per segment for the 48 kHz model.

    Raises:
        ValueError: the model has no trained codebooks, does not support the bandwidth, or the shape is wrong.
    """
    _check_codebooks(model)
    check_bandwidth(bandwidth, model.target_bandwidths)
    codes = []
    for segment in encode_segments(model, audio, sample_rate):
        encoded = model.quantizer.encode(segment.embeddings, model.frame_rate, bandwidth)  # [K, B, F]
        codes.append(encoded.transpose(0, 1))
    return per_segment(model, codes)


def quantized_embeddings(
    model: "EncodecModel", audio: Tensor, bandwidth: float = DEFAULT_BANDWIDTH, sample_rate: int | None = None
) -> Tensor | list[Tensor]:
    """Return the embeddings quantised at `bandwidth` kbit/s: the sum of the selected codewords of each frame.

    Equal to `model.quantizer.decode(codes)` over `model.encode(audio)`. Arguments and errors are those of
    `quantized_codes`, the shapes those of `encoder_embeddings`.
    """
    codes = quantized_codes(model, audio, bandwidth, sample_rate)
    if isinstance(codes, list):
        return [_decode(model, segment) for segment in codes]
    return _decode(model, codes)


def _check_codebooks(model: object) -> None:
    cure = (
        "; take encodec.EncodecModel.encodec_model_24khz(), which fetches Meta's weights (93 MB), or run "
        "`streamer embed --model pretrained --kind codes`."
    )
    quantizer = getattr(model, "quantizer", None)
    if quantizer is None:
        raise ValueError(f"{type(model).__name__} has no codebooks, and codes are indices into them{cure}")
    if not quantizer.vq.layers[0]._codebook.embed.any():
        raise ValueError(f"The model's codebooks are all zeros, because it was made with pretrained=False{cure}")


def check_bandwidth(bandwidth: float, known: Sequence[float]) -> None:
    """Raise ValueError if `bandwidth` is not among the `known` ones, in kbit/s."""
    if bandwidth not in known:
        raise ValueError(
            f"The bandwidth must be one of {', '.join(f'{b:g}' for b in known)} kbit/s; got {bandwidth:g}."
        )


def _decode(model: "EncodecModel", codes: Tensor) -> Tensor:
    """Decode codes `[B, K, F]` to `[B, 128, F]`."""
    return model.quantizer.decode(codes.transpose(0, 1))  # type: ignore[no-any-return]


class Quantizer(nn.Module):
    """The codebooks of an EnCodec model, for embeddings that are already computed.

    Attributes:
        codebooks: `[n, 1024, 128]`.
        bandwidths: the bandwidths that the model was trained for, in kbit/s.
        bandwidth_per_codebook: in kbit/s.
    """

    codebooks: Tensor

    def __init__(self, codebooks: Tensor, bandwidths: Sequence[float], bandwidth_per_codebook: float) -> None:
        super().__init__()
        self.register_buffer("codebooks", codebooks)
        self.bandwidths = tuple(bandwidths)
        self.bandwidth_per_codebook = bandwidth_per_codebook

    @classmethod
    def from_encodec(cls, model: "EncodecModel") -> Self:
        """Copy the codebooks of `model`, which is not changed."""
        codebooks = torch.stack([layer._codebook.embed for layer in model.quantizer.vq.layers])
        return cls(
            codebooks.detach().clone(),
            model.target_bandwidths,
            model.quantizer.get_bandwidth_per_quantizer(model.frame_rate),
        )

    @classmethod
    def from_weights(cls, tensors: Mapping[str, Tensor]) -> Self | None:
        """Return the codebooks among the weights of a 24 kHz model; None if there are none.

        The keys may be those of the `encodec` package or of Hugging Face.
        """
        found = {}
        for key, tensor in tensors.items():
            if match := _CODEBOOK_KEY.fullmatch(key):
                found[int(match["index"])] = tensor.float()
        if not found:
            return None
        return cls(torch.stack([found[index] for index in sorted(found)]), BANDWIDTHS_24KHZ, FRAME_RATE * BITS / 1000)

    def codebook_count(self, bandwidth: float) -> int:
        """Return the number of codebooks used at `bandwidth` kbit/s.

        Raises:
            ValueError: the model does not support the bandwidth.
        """
        check_bandwidth(bandwidth, self.bandwidths)
        return int(bandwidth / self.bandwidth_per_codebook)

    def encode(self, embeddings: Tensor, bandwidth: float = DEFAULT_BANDWIDTH) -> Tensor:
        """Quantise `[B, 128, F]` to codes `[B, K, F] int64`."""
        return self.encode_with_margins(embeddings, bandwidth)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sum of the codewords of `codes: [B, K, F]`, `[B, 128, F]`."""
        decoded = self.codebooks.new_zeros(codes.shape[0], codes.shape[2], self.codebooks.shape[2])
        for codebook, indices in zip(self.codebooks, codes.unbind(1), strict=False):
            decoded = decoded + codebook[indices]  # [B, F, 128]
        return decoded.transpose(1, 2)

    def encode_with_margins(self, embeddings: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
        """Return codes `[B, K, F] int64` and the margin of each nearest codeword, `[B, K, F]`.

        The margin is the difference between the distances to the second nearest and to the nearest codeword, relative
        to the former. Below `TIE`, rounding decides which of the two is selected.
        """
        batch, channels, frames = embeddings.shape
        residual = embeddings.transpose(1, 2).reshape(batch * frames, channels)  # [N, 128]
        codes, margins = [], []
        for codebook in self.codebooks[: self.codebook_count(bandwidth)]:
            # |x|² - 2 x·c + |c|² in this order, as the package computes it: another order rounds differently
            squared = residual.square().sum(1, keepdim=True) - 2 * residual @ codebook.t() + codebook.square().sum(1)
            nearest = squared.topk(2, dim=1, largest=False)  # [N, 2], the nearest first
            first, second = nearest.values.clamp(min=0).sqrt().unbind(1)
            codes.append(nearest.indices[:, 0])
            margins.append((second - first) / second.clamp(min=torch.finfo(second.dtype).tiny))
            residual = residual - codebook[codes[-1]]
        shape = (len(codes), batch, frames)
        return torch.stack(codes).reshape(shape).transpose(0, 1), torch.stack(margins).reshape(shape).transpose(0, 1)


class StreamingQuantizer(nn.Module):
    """Quantises streaming audio in chunks of any length: a `StreamingEncoder` followed by a `Quantizer`.

    The codes equal those of the offline model except for ties: where the two nearest codewords are equally near (within
    1e-4), the last bit of a float decides, for that code and all later codebooks of the frame.

    Attributes:
        frame_counts: `[B] int64`, the number of valid frames in each row of the last `step` or `flush`.
        tied_frames: `[B] int64`, frames with a tie in at least one codebook, since the stream's reset.
    """

    def __init__(self, model: "EncodecModel", bandwidth: float = DEFAULT_BANDWIDTH, batch_size: int = 1) -> None:
        super().__init__()
        self.quantizer = Quantizer.from_encodec(model)
        self.quantizer.codebook_count(bandwidth)  # raises now if the bandwidth is unknown
        self.bandwidth = bandwidth
        self.encoder = StreamingEncoder.from_encodec(model, batch_size)
        self.tied_frames = torch.zeros(batch_size, dtype=torch.int64)

    @property
    def frame_counts(self) -> Tensor:
        """Number of valid frames in each row of the last `step` or `flush`, `[B] int64` on the CPU."""
        return self.encoder.frame_counts

    def step(self, audio: Tensor, exec_mask: Tensor | None = None) -> Tensor:
        """Return the codes of the frames that `audio: [B, 1, S]` completes, `[B, K, F] int64`, padded with -1.

        Arguments and errors are those of `StreamingEncoder.step`.
        """
        return self._quantize(self.encoder.step(audio, exec_mask))

    def flush(self, mask: Tensor | None = None) -> Tensor:
        """End the streams of `mask: [B] bool` (all, if None) and return their remaining codes, as `step` does."""
        return self._quantize(self.encoder.flush(mask))

    def reset(self, mask: Tensor | None = None) -> None:
        """Reset the streams of `mask: [B] bool` (all, if None) to the state before their first sample."""
        self.encoder.reset(mask)
        self.tied_frames[slice(None) if mask is None else mask.cpu()] = 0

    @torch.inference_mode()
    def _quantize(self, embeddings: Tensor) -> Tensor:
        """Quantise `[B, 128, F]` to `[B, K, F]`, padded, and count ties."""
        codes, margins = self.quantizer.encode_with_margins(embeddings, self.bandwidth)
        counts = self.frame_counts.to(codes.device)
        valid = torch.arange(codes.shape[2], device=codes.device) < counts[:, None]  # [B, F]
        self.tied_frames += ((margins < TIE).any(dim=1) & valid).sum(dim=1).cpu()
        return codes.masked_fill(~valid[:, None], NO_CODE)
