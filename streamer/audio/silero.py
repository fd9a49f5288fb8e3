"""silero's network for voice activity, in plain torch, with the weights in its package; several streams at once.

The architecture: a short-time Fourier transform (four frames of 256 samples, every 128), its magnitudes, four
convolutions over them that end in one vector, an LSTM from chunk to chunk, and a logistic output. The probabilities
equal those of the packaged TorchScript model up to rounding. It is faster for four reasons: the transform is an FFT
and not a convolution with its matrix, everything before the LSTM's recurrence runs once for all chunks of a step, the
weights are laid out once, and the first convolution, which has most of the multiplications, takes half of them.

That one has three taps over four frames between zeros. By Toom and Cook's method (Lavin and Gray, "Fast algorithms for
convolutional neural networks", 2016: F(4, 3)) six products give its four outputs, in place of twelve: each is one of
six sums of the frames by one of six sums of the taps, and each output is a sum of products.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
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
# F(4, 3) at 0, 1, -1, 2, -2 and infinity, without the columns of frames that are zero.
_FRAME_SUMS = torch.tensor(
    [[0, -5, 0, 1], [-4, -4, 1, 1], [4, -4, -1, 1], [-2, -1, 2, 1], [2, -1, -2, 1], [4, 0, -5, 0]], dtype=torch.float32
)
_TAP_SUMS = (
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
)
_OUTPUT_SUMS = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float32
)
_PRODUCTS = len(_FRAME_SUMS)


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

    Raises:
        StreamerError: the package's weights are missing, or of another network.
    """

    @torch.inference_mode()
    def __init__(self, kernels: Kernels = PLAIN) -> None:
        weights = load_weights()
        convs = [
            (weights[f"encoder.{i}.reparam_conv.weight"], weights[f"encoder.{i}.reparam_conv.bias"]) for i in range(4)
        ]
        self._first = _combined_taps(*convs[0])
        # The second has two outputs, of frames 0 and 1 after a zero, and of frames 1 to 3.
        self._second = [tap.t().contiguous() for tap in convs[1][0].unbind(2)]  # 3 times [128, 64]
        self._second_bias = convs[1][1]
        # The third sees these two after a zero, and the fourth the third's one output between zeros.
        self._third = [tap.t().contiguous() for tap in convs[2][0].unbind(2)[1:]]  # 2 times [64, 64]
        self._third_bias = convs[2][1]
        self._fourth, self._fourth_bias = convs[3][0][:, :, 1].t().contiguous(), convs[3][1]
        lstm = nn.LSTM(_HIDDEN, _HIDDEN).requires_grad_(False)
        lstm.load_state_dict({f"{name}_l0": weights[f"decoder.rnn.{name}"] for name in _LSTM_PARAMETERS})
        self._lstm = kernels.lstm(lstm)
        self._out_weight = weights["decoder.decoder.2.weight"][0, :, 0].contiguous()
        self._out_bias = weights["decoder.decoder.2.bias"]
        self._window = torch.hann_window(_FFT)
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
            features: `[T, B, 128]`.
            hidden: `[B, 1, 128]`, after the chunks before.
            cell: `[B, 1, 128]`, likewise.

        Returns:
            `[T, B]`, `[B, 1, 128]` and `[B, 1, 128]`.
        """
        y, hidden, cell = self._lstm(features.transpose(0, 1), hidden, cell)
        flat = y.transpose(0, 1).reshape(-1, _HIDDEN).relu()
        probabilities = torch.addmv(self._out_bias, flat, self._out_weight).sigmoid_()
        return probabilities.view(features.shape[:2]), hidden, cell

    def _block_features(self, chunks: Tensor) -> Tensor:
        count = len(chunks)
        mirrored = torch.cat((chunks, chunks[:, -1 - _MIRRORED : -1].flip(1)), dim=1)  # [M, 640]
        frames = mirrored.as_strided((_FRAMES, count, _FFT), (_FRAME_STEP, mirrored.shape[1], 1))
        spectrum = torch.fft.rfft(frames * self._window)  # [4, M, 129]
        magnitudes = torch.ones(_FRAMES, count, _BINS + 1)  # the ones are for the bias
        np.abs(spectrum.numpy(), out=magnitudes[:, :, :-1].numpy())  # a quarter of torch's time
        sums = torch.mm(_FRAME_SUMS, magnitudes.view(_FRAMES, -1)).view(_PRODUCTS, count, -1)
        products = torch.bmm(sums, self._first)  # [6, M, 128]
        first = torch.mm(_OUTPUT_SUMS, products.view(_PRODUCTS, -1)).clamp_min_(0)
        frame = first.view(_FRAMES, count, _CHANNELS).unbind()
        before, at, after = self._second
        early = torch.addmm(self._second_bias, frame[0], at).addmm_(frame[1], after).clamp_min_(0)  # [M, 64]
        late = torch.addmm(self._second_bias, frame[1], before).addmm_(frame[2], at).addmm_(frame[3], after)
        third = torch.addmm(self._third_bias, early, self._third[0]).addmm_(late.clamp_min_(0), self._third[1])
        return torch.addmm(self._fourth_bias, third.clamp_min_(0), self._fourth).clamp_min_(0)


def _combined_taps(weight: Tensor, bias: Tensor) -> Tensor:
    """Return what the six sums of frames, with a one beside each, are multiplied by, `[6, 129 + 1, 128]`.

    Args:
        weight: `[128, 129, 3]` of the first convolution.
        bias: `[128]`, which goes into the second product: it is the one that every output has once.
    """
    combined = torch.einsum("pk,nck->pcn", _TAP_SUMS, weight.double())
    biases = torch.zeros(_PRODUCTS, 1, _CHANNELS, dtype=torch.float64)
    biases[1] = bias / _FRAME_SUMS[1].sum()
    return torch.cat((combined, biases), dim=1).float()
