"""silero's network for voice activity, in plain torch, with the weights in its package; several streams at once.

The architecture: a short-time Fourier transform (four frames of 256 samples, every 128), its magnitudes, four
convolutions over them that end in one vector, an LSTM from chunk to chunk, and a logistic output. The probabilities
equal those of the packaged TorchScript model up to rounding. It is faster for three reasons: the transform is an FFT
and not a convolution with its matrix, everything before the LSTM's recurrence runs once for all chunks of a step, and
the weights are laid out once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.audio.silero_weights import load_weights
from streamer.audio.vad_input import RAW_BLOCK, RAW_BLOCK_STEP, RESAMPLED_BLOCK, VAD_INPUT, resampling_matrix

_FFT = 256  # samples a frame
_FRAME_STEP = 128
_HIDDEN = 128  # values of the state of the LSTM
_LSTM_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_FRAMES = 4  # a chunk
_BINS = _FFT // 2 + 1
_CHANNELS = 128  # after the first convolution; halved by the second
_MIRRORED = 64  # samples at a chunk's end, for the last of its frames
_MOST_CHUNKS = 160  # pass through the layers at once: what is between two layers stays in a core's cache


class Product(Protocol):
    """A product with a constant weight `[N, K]` and bias `[N]`."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x @ weight.T + bias` for `x: [M, K]`."""
        ...


class Recurrence(Protocol):
    """An LSTM with constant weights."""

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map `x: [B, T, C]` and the states `[B, 1, C]` to outputs `[B, T, C]` and both new states."""
        ...


def _plain_product(weight: Tensor, bias: Tensor) -> Product:
    return partial(F.linear, weight=weight, bias=bias)


def _plain_lstm(module: nn.LSTM) -> Recurrence:
    def run(x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = module(x.transpose(0, 1), (hidden.transpose(0, 1), cell.transpose(0, 1)))
        return y.transpose(0, 1), h.transpose(0, 1), c.transpose(0, 1)

    return run


@dataclass(frozen=True, slots=True)
class Kernels:
    """What computes the layers; each packs its weights once. By default plain torch."""

    product: Callable[[Tensor, Tensor], Product] = _plain_product  # from weight [N, K] and bias [N]
    lstm: Callable[[nn.LSTM], Recurrence] = _plain_lstm


PLAIN = Kernels()


class SileroNetwork:
    """silero's 16 kHz network without a state of its own, so that one network serves all streams.

    Not thread-safe: calls share memory for what is between the layers.

    Raises:
        StreamerError: the package's weights are missing, or of another network.
    """

    @torch.inference_mode()
    def __init__(self, kernels: Kernels = PLAIN) -> None:
        weights = load_weights()
        convs = [
            (weights[f"encoder.{i}.reparam_conv.weight"], weights[f"encoder.{i}.reparam_conv.bias"]) for i in range(4)
        ]
        self._first = kernels.product(_unfolded(convs[0][0]), convs[0][1])
        self._second = kernels.product(_unfolded(convs[1][0]), convs[1][1])
        # The third sees two frames after a zero, and the fourth one frame between zeros.
        self._third = kernels.product(_unfolded(convs[2][0][:, :, 1:]), convs[2][1])
        self._fourth = kernels.product(convs[3][0][:, :, 1].contiguous(), convs[3][1])
        lstm = nn.LSTM(_HIDDEN, _HIDDEN).requires_grad_(False)
        lstm.load_state_dict({f"{name}_l0": weights[f"decoder.rnn.{name}"] for name in _LSTM_PARAMETERS})
        self._lstm = kernels.lstm(lstm)
        self._out_weight = weights["decoder.decoder.2.weight"][0, :, 0].contiguous()
        self._out_bias = weights["decoder.decoder.2.bias"]
        self._window = torch.hann_window(_FFT)
        # The first convolutions' inputs; what is zero stays zero, for they are padded.
        self._magnitudes = torch.zeros(_MOST_CHUNKS, _FRAMES + 2, _BINS)
        self._hidden = torch.zeros(_MOST_CHUNKS, _FRAMES + 1, _CHANNELS)
        self._resample = kernels.product(resampling_matrix(), torch.zeros(RESAMPLED_BLOCK))

    @torch.inference_mode()
    def to_16_khz(self, raw: Tensor) -> Tensor:
        """Resample chunks with what is before and after them, `[M, 936]` at 24 kHz to `[M, 64 + 512]` at 16 kHz."""
        blocks = raw.unfold(1, RAW_BLOCK, RAW_BLOCK_STEP)
        return self._resample(blocks.reshape(-1, RAW_BLOCK)).view(len(raw), VAD_INPUT)

    @torch.inference_mode()
    def features(self, chunks: Tensor) -> Tensor:
        """Return the LSTM's inputs `[M, 128]` for `chunks: [M, 64 + 512]` at 16 kHz, each with the samples before."""
        blocks = [self._block_features(block) for block in chunks.tensor_split(-(-len(chunks) // _MOST_CHUNKS))]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    @torch.inference_mode()
    def probabilities(self, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the speech probabilities of the next T chunks of B streams, and the LSTM's new states.

        Args:
            features: `[B, T, 128]`.
            hidden: `[B, 1, 128]`, after the chunks before.
            cell: `[B, 1, 128]`, likewise.

        Returns:
            `[B, T]`, `[B, 1, 128]` and `[B, 1, 128]`.
        """
        y, hidden, cell = self._lstm(features, hidden, cell)
        flat = y.reshape(-1, _HIDDEN).relu()
        return torch.addmv(self._out_bias, flat, self._out_weight).sigmoid_().view(y.shape[:2]), hidden, cell

    def _block_features(self, chunks: Tensor) -> Tensor:
        mirrored = torch.cat((chunks, chunks[:, -1 - _MIRRORED : -1].flip(1)), dim=1)  # [M, 640]
        spectrum = torch.fft.rfft(mirrored.unfold(1, _FFT, _FRAME_STEP) * self._window)  # [M, 4, 129]
        real, imaginary = spectrum.real, spectrum.imag
        count = len(chunks)
        magnitudes, hidden = self._magnitudes[:count], self._hidden[:count]
        torch.sqrt(torch.addcmul(real.square(), imaginary, imaginary), out=magnitudes[:, 1:-1])
        windows = magnitudes.as_strided((count, _FRAMES, 3 * _BINS), ((_FRAMES + 2) * _BINS, _BINS, 1))
        x = self._first(windows.reshape(-1, 3 * _BINS))  # [4 * M, 128]
        torch.clamp_min(x.view(count, _FRAMES, _CHANNELS), 0, out=hidden[:, 1:])
        windows = hidden.as_strided((count, 2, 3 * _CHANNELS), ((_FRAMES + 1) * _CHANNELS, 2 * _CHANNELS, 1))
        x = self._second(windows.reshape(-1, 3 * _CHANNELS)).relu_()  # [2 * M, 64]
        return self._fourth(self._third(x.view(count, -1)).relu_()).relu_()


def _unfolded(weight: Tensor) -> Tensor:
    """Return a convolution's weight `[N, C, kernel]` as `[N, kernel * C]`, for windows of adjacent channels."""
    return weight.permute(0, 2, 1).flatten(1).contiguous()
