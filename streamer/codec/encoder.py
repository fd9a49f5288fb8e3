"""The encoder of EnCodec's 24 kHz model, weight norm folded.

Défossez et al., "High Fidelity Neural Audio Compression", 2022 (arXiv 2210.13438), section 3.1, in the causal variant.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from streamer.codec.layers import (
    MIDDLE,
    WHOLE,
    CausalConv1d,
    Edges,
    LayerState,
    ResidualBlock,
    ResidualLSTM,
)
from streamer.codec.plan import Plans
from streamer.codec.precision import Precision
from streamer.constants import EMBEDDING_DIM, SAMPLE_RATE
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from encodec.model import EncodecModel

RATIOS = (2, 4, 5, 8)  # strides of the downsampling convolutions; their product is a frame, 320 samples
CHANNELS = 32  # after the first convolution; doubled by each of the four downsamplings: 32, 64, 128, 256, 512

# (magnitude, direction) as torch.nn.utils.weight_norm names them, and as torch.nn.utils.parametrizations.weight_norm.
_WEIGHT_NORM_KEYS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def fold_weight_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` with weight norm folded into plain `weight` keys, by the arithmetic of torch's weight norm."""
    folded = dict(weights)
    for magnitude, direction in _WEIGHT_NORM_KEYS:
        for key in [key for key in weights if key.endswith(f".{magnitude}")]:
            layer = key.removesuffix(magnitude)
            if layer + direction in folded:
                folded[f"{layer}weight"] = torch._weight_norm(folded.pop(layer + direction), folded.pop(key), 0)
    return folded


class UnsupportedModelError(StreamerError, ValueError):
    """The given EnCodec model is not a causal, mono 24 kHz model."""


@dataclass
class EncoderState:
    """State of every layer between two pieces of `batch_size` signals. Written in place."""

    layers: dict[int, LayerState]  # by the layer's index in `Encoder.model`

    def reset(self, streams: Tensor) -> None:
        """Zero the state of the streams `[N] int64`, as before their first sample."""
        for tensor in self.tensors():
            tensor.index_fill_(0, streams, 0)

    def select(self, streams: Tensor) -> "EncoderState":
        """Return a copy of the state of the streams `[N] int64`."""
        return EncoderState(
            {
                index: type(layer)(*(getattr(layer, f.name).index_select(0, streams) for f in fields(layer)))
                for index, layer in self.layers.items()
            }
        )

    def store(self, streams: Tensor, state: "EncoderState") -> None:
        """Write `state`, a copy that `select` made of the streams `[N] int64`, back."""
        for target, source in zip(self.tensors(), state.tensors(), strict=True):
            target.index_copy_(0, streams, source)

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor of every layer, with streams along dimension 0."""
        for layer in self.layers.values():
            for f in fields(layer):
                yield getattr(layer, f.name)


class Encoder(nn.Module):
    """Encodes waveforms `[B, 1, T]`, mono float at 24 kHz, to embeddings `[B, 128, ceil(T / 320)]`, 75 frames a second.

    `forward(audio)` is the offline encoder; it is differentiable. The keys of `state_dict` are those of
    `EncodecModel.encoder` once weight norm is removed.

    Attributes:
        precision: number format of the packed weights, float32 unless set to another that `cpu.pack.supported` allows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.precision: Precision = "float32"
        self._plans: Plans | None = None
        layers: list[nn.Module] = [CausalConv1d(1, CHANNELS, 7)]
        channels = CHANNELS
        for ratio in RATIOS:
            down = CausalConv1d(channels, 2 * channels, 2 * ratio, ratio, activated=True)
            layers += [ResidualBlock(channels), nn.Identity(), down]  # Identity: the package's ELU
            channels *= 2
        layers += [ResidualLSTM(channels), nn.Identity(), CausalConv1d(channels, EMBEDDING_DIM, 7, activated=True)]
        self.model = nn.Sequential(*layers)

    @classmethod
    def from_encodec(cls, model: "EncodecModel") -> Self:
        """Copy the encoder of a 24 kHz model of the `encodec` package; the model is not changed.

        Raises:
            UnsupportedModelError: the model is not mono, causal and 24 kHz, or has another architecture.
        """
        first = model.encoder.model[0]
        if model.sample_rate != SAMPLE_RATE or model.channels != 1 or not getattr(first, "causal", False):
            raise UnsupportedModelError(
                f"This EnCodec model ({model.sample_rate} Hz, {model.channels} channel(s), "
                f"{'causal' if getattr(first, 'causal', False) else 'not causal'}) cannot be streamed; "
                "use EncodecModel.encodec_model_24khz()."
            )
        weights = fold_weight_norm(model.encoder.state_dict())
        parameter = next(iter(weights.values()))
        encoder = cls().to(parameter.device, parameter.dtype)
        try:
            encoder.load_state_dict(weights)
        except RuntimeError as error:
            raise UnsupportedModelError(
                "This EnCodec model differs in its layers from the package's 24 kHz model and cannot be streamed; "
                "use EncodecModel.encodec_model_24khz()."
            ) from error
        return encoder.train(model.training)

    @torch.no_grad()
    def pack(self) -> None:
        """Copy the current weights in a layout for inference on the CPU, and compute with that copy from now on."""
        for layer in self.model:
            if isinstance(layer, CausalConv1d | ResidualBlock | ResidualLSTM):
                layer.pack(self.precision)
        self._plans = Plans(self.model)

    def release(self) -> None:
        """Free the parameters' memory for good, of an encoder that computes with packed copies or not at all.

        Their shapes and types stay; their values are zero.
        """
        for parameter in self.parameters():
            parameter.data = parameter.data.new_zeros(1).expand(parameter.shape)

    def unpack(self) -> None:
        """Drop the packed copies and compute with the parameters again, on whatever device they are now."""
        for module in self.modules():
            if isinstance(module, CausalConv1d | ResidualLSTM):
                module.packed = None
        self._plans = None

    def init_state(self, batch_size: int) -> EncoderState:
        """Return the state of `batch_size` signals before their first sample."""
        parameter = next(self.parameters()).detach()
        return EncoderState(
            {
                index: layer.init_state(batch_size, parameter)
                for index, layer in enumerate(self.model)
                if isinstance(layer, CausalConv1d | ResidualBlock | ResidualLSTM)
            }
        )

    def forward(self, audio: Tensor, state: EncoderState | None = None, edges: Edges = WHOLE) -> Tensor:
        """Encode `audio: [B, 1, T]` to `[B, 128, ceil(T / 320)]`.

        Without a state, `audio` is a whole signal. With one it is a piece: the first piece has at least 2,240 samples,
        and every piece but the last is a whole number of frames (320 samples) long.
        """
        if audio.shape[-1] == 0:
            return audio.new_zeros(audio.shape[0], EMBEDDING_DIM, 0)
        x = audio.transpose(1, 2)  # [B, T, 1]
        if self._plans and state is not None and edges == MIDDLE:
            return self._plans(x, state.layers).transpose(1, 2).to(audio.dtype)
        for index, layer in enumerate(self.model):
            if not isinstance(layer, nn.Identity):
                x = layer(x, state and state.layers[index], edges)
        return x.transpose(1, 2).to(audio.dtype)  # [B, 128, F]
