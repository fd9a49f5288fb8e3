"""The encoder of EnCodec's 24 kHz model, weight norm folded.

Défossez et al., "High Fidelity Neural Audio Compression", 2022 (arXiv 2210.13438), section 3.1, in the causal variant.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from streamer.codec.cpu.pack import Precision
from streamer.codec.cpu.plan import Plans
from streamer.codec.layers import (
    MIDDLE,
    WHOLE,
    CausalConv1d,
    Edges,
    LayerState,
    ResidualBlock,
    ResidualLSTM,
)
from streamer.constants import EMBEDDING_DIM, SAMPLE_RATE
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from encodec.model import EncodecModel

from collections.abc import Mapping

# (length, direction) as torch.nn.utils.weight_norm names them, and as torch.nn.utils.parametrizations.weight_norm does.
_LAYOUTS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def fold_weight_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` with every normalised weight folded under its plain key, by the arithmetic of torch's weight norm."""
    folded = dict(weights)
    for length, direction in _LAYOUTS:
        for key in [key for key in weights if key.endswith(f".{length}")]:
            layer = key.removesuffix(length)
            if layer + direction in folded:
                folded[f"{layer}weight"] = torch._weight_norm(folded.pop(layer + direction), folded.pop(key), 0)
    return folded


RATIOS = (2, 4, 5, 8)  # strides of the downsampling convolutions; their product is the hop of 320 samples
CHANNELS = 32  # after the first convolution; doubled by each of the four downsamplings: 32, 64, 128, 256, 512


class UnsupportedModelError(StreamerError, ValueError):
    """The given EnCodec model is not a causal 24 kHz one."""


@dataclass
class EncoderState:
    """What every layer keeps between two pieces of `batch_size` signals. Written in place."""

    layers: dict[int, LayerState]  # by the layer's place in `Encoder.model`

    def reset(self, streams: Tensor) -> None:
        """As before the first sample, for the streams `[N] int64`."""
        for tensor in self.tensors():
            tensor.index_fill_(0, streams, 0)

    def select(self, streams: Tensor) -> "EncoderState":
        """A copy of the state of the streams `[N] int64`."""
        return EncoderState(
            {
                place: type(layer)(*(getattr(layer, f.name).index_select(0, streams) for f in fields(layer)))
                for place, layer in self.layers.items()
            }
        )

    def store(self, streams: Tensor, state: "EncoderState") -> None:
        """Puts back what `select` copied."""
        for mine, theirs in zip(self.tensors(), state.tensors(), strict=True):
            mine.index_copy_(0, streams, theirs)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of every layer, streams along dimension 0."""
        for layer in self.layers.values():
            for f in fields(layer):
                yield getattr(layer, f.name)


class Encoder(nn.Module):
    """Waveform to embeddings: `[B, 1, T]` mono float at 24 kHz to `[B, 128, ceil(T / 320)]`, 75 frames a second.

    `forward(audio)` is the offline encoder, differentiable. The keys of `state_dict` are those of
    `EncodecModel.encoder` once weight norm is removed.

    Attributes:
        precision: what `pack` computes in; float32, unless it is set to another that `kernels.supported` allows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.precision: Precision = "float32"
        self._plans: Plans | None = None
        layers: list[nn.Module] = [CausalConv1d(1, CHANNELS, 7)]
        channels = CHANNELS
        for ratio in RATIOS:
            down = CausalConv1d(channels, 2 * channels, 2 * ratio, ratio, activated=True)
            layers += [ResidualBlock(channels), nn.Identity(), down]  # the package has its ELU in between
            channels *= 2
        layers += [ResidualLSTM(channels), nn.Identity(), CausalConv1d(channels, EMBEDDING_DIM, 7, activated=True)]
        self.model = nn.Sequential(*layers)

    @classmethod
    def from_encodec(cls, model: "EncodecModel") -> Self:
        """A copy of the encoder of a 24 kHz model of the `encodec` package, which is left as it is.

        Raises:
            UnsupportedModelError: the model is not mono, causal and at 24 kHz, or of another architecture.
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
                "This EnCodec model has other layers than the package's 24 kHz one and cannot be streamed; "
                "use EncodecModel.encodec_model_24khz()."
            ) from error
        return encoder.train(model.training)

    @torch.no_grad()
    def pack(self) -> None:
        """From now on compute with a copy of the present weights, laid out for inference on the CPU."""
        for layer in self.model:
            if isinstance(layer, CausalConv1d | ResidualBlock | ResidualLSTM):
                layer.pack(self.precision)
        self._plans = Plans(self.model)

    def unpack(self) -> None:
        """Compute with the parameters again, which may be on another device meanwhile."""
        for module in self.modules():
            if isinstance(module, CausalConv1d | ResidualLSTM):
                module.packed = None
        self._plans = None

    def init_state(self, batch_size: int) -> EncoderState:
        """The state of `batch_size` signals before their first sample."""
        parameter = next(self.parameters()).detach()
        return EncoderState(
            {
                place: layer.init_state(batch_size, parameter)
                for place, layer in enumerate(self.model)
                if isinstance(layer, CausalConv1d | ResidualBlock | ResidualLSTM)
            }
        )

    def forward(self, audio: Tensor, state: EncoderState | None = None, edges: Edges = WHOLE) -> Tensor:
        """`[B, 1, T]` to `[B, 128, ceil(T / 320)]`.

        Without a state, `audio` is a whole signal. With one it is a piece: the first of at least 2,240 samples, all
        but the last of whole hops of 320.
        """
        if audio.shape[-1] == 0:
            return audio.new_zeros(audio.shape[0], EMBEDDING_DIM, 0)
        x = audio.transpose(1, 2)  # [B, T, 1]
        if self._plans and state is not None and edges == MIDDLE:
            return self._plans(x, state.layers).transpose(1, 2).to(audio.dtype)
        for place, layer in enumerate(self.model):
            if not isinstance(layer, nn.Identity):
                x = layer(x, state and state.layers[place], edges)
        return x.transpose(1, 2).to(audio.dtype)  # [B, 128, F]
