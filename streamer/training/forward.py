"""The encoder's arithmetic in the layout that trains fastest, cut in two where learning begins.

What lies below the cut stays as it is, and what it gives can be stored once. Two cuts are of use: below the LSTM, under
which lie 77 % of the encoder's operations and 43 % of its parameters; and below the layers at 600 Hz, under which lie
58 % of its operations and 6 % of its parameters. In bfloat16 with channels last the convolutions run at twice the speed
of autocast on a processor that has AVX512_BF16. Equal to `Encoder.forward` on whole signals of whole frames, up to
rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec import Encoder
from streamer.codec.layers import CausalConv1d, ResidualBlock

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
