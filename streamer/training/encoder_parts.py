"""Run the encoder in two parts: the frozen layers below a cut, and those above it, which are trained.

Convolutions run as 2-d ones over `[B, C, 1, T]` in channels-last memory, and in the given dtype; the part above, on the
CPU, as matrix products (see `cpu_layers`). Both parts together equal the encoder's forward pass.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec import Encoder
from streamer.codec.layers import CausalConv1d, ResidualBlock, ResidualLSTM
from streamer.training.cpu_layers import upper_layers_in_threads

LSTM_LAYER = 13  # of `Encoder.model`; all layers below it are convolutions
DEEP_LAYER = 10  # the residual block of 256 channels at 600 Hz = 75 Hz x 8
STEM_DIMS = {LSTM_LAYER: 512, DEEP_LAYER: 8 * 256}  # values per frame at each cut


def lower_layers(encoder: Encoder, audio: Tensor, dtype: torch.dtype = torch.float32, end: int = LSTM_LAYER) -> Tensor:
    """Map levelled audio `[B, T]`, T whole frames of 320, to the input `[B, T / 320, D]` of layer `end`, in `dtype`."""
    x = audio.to(dtype)[:, None, None].contiguous(memory_format=torch.channels_last)  # [B, 1, 1, T]
    x = _convolutions(encoder, x, 0, end)  # [B, C, 1, T / 320 x D / C]
    return x[:, :, 0].transpose(1, 2).reshape(len(x), audio.shape[1] // 320, -1)


def at_rest(encoder: Encoder, rows: int) -> Tensor:
    """Return the state of the LSTM before any frame, `[L, 2, rows, C]`: hidden values and cells of L layers."""
    lstm = next(module for module in encoder.modules() if isinstance(module, nn.LSTM))
    return torch.zeros(lstm.num_layers, 2, rows, lstm.hidden_size, device=next(lstm.parameters()).device)


def upper_layers(
    encoder: Encoder,
    features: Tensor,
    dtype: torch.dtype = torch.float32,
    begin: int = LSTM_LAYER,
    lengths: Tensor | None = None,
) -> Tensor:
    """Run `upper_layers_from` with the LSTM at rest, and return the frames alone."""
    frames, _ = upper_layers_from(encoder, features, at_rest(encoder, len(features)), dtype, begin, lengths)
    return frames


def upper_layers_from(
    encoder: Encoder,
    features: Tensor,
    start: Tensor,
    dtype: torch.dtype = torch.float32,
    begin: int = LSTM_LAYER,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Map the input `[B, F, D]` of layer `begin` to frames `[B, 128, F]`, float32; F >= 7.

    Of each row only the first `lengths [B]` frames count, where they are given; the rest may be anything finite.
    Gradients do not reach back into `start`. The convolutions mirror the left edge, whatever came before.

    Returns:
        The frames, and the LSTM's state after each row's last frame that counts, like `start` (see `at_rest`).
    """
    features = features.to(dtype)
    if features.device.type == "cpu":
        return upper_layers_in_threads(encoder, features, begin, start, lengths)
    if begin < LSTM_LAYER:
        batch_size, frames, width = features.shape
        channels = STEM_DIMS[begin] // 8
        x = features.reshape(batch_size, frames * width // channels, channels)  # [B, 8F, 256]
        x = _convolutions(encoder, x.transpose(1, 2)[:, :, None], begin, LSTM_LAYER)
        features = x[:, :, 0].transpose(1, 2)  # [B, F, 512]
    lstm, activate, last = list(encoder.model)[LSTM_LAYER:]
    assert isinstance(lstm, ResidualLSTM)
    with torch.autocast(features.device.type, dtype, enabled=dtype != torch.float32):
        y, end = run_lstm(lstm.lstm, features, start, lengths)
        frames_out: Tensor = last(activate(features + y))
    return frames_out.transpose(1, 2).float(), end


def run_lstm(lstm: nn.LSTM, x: Tensor, start: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run torch's LSTM over `[B, F, C]` from a state `[L, 2, B, C]`; return outputs, and the state at rows' ends."""
    counts = torch.full(x.shape[:1], x.shape[1]) if lengths is None else lengths.cpu()
    packed = nn.utils.rnn.pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
    hidden, cells = (one.contiguous().to(x.dtype) for one in start.unbind(1))
    outputs, ends = lstm(packed, (hidden, cells))
    y, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
    return y, torch.stack(ends, dim=1).detach().float()


def upper_modules(encoder: Encoder, begin: int = LSTM_LAYER) -> list[nn.Module]:
    """Return the layers that `upper_layers` runs."""
    return list(encoder.model)[begin:]


def _convolutions(encoder: Encoder, x: Tensor, begin: int, end: int) -> Tensor:
    """Run `[B, C, 1, T]` through the layers from `begin` up to `end`."""
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
    """Run a causal convolution over `[B, C, 1, T]`, with reflect padding at the left edge."""
    conv = layer.conv.conv
    if layer.context:
        x = F.pad(x, (layer.context, 0, 0, 0), mode="reflect")
    weight = conv.weight.to(x.dtype)[:, :, None].contiguous(memory_format=torch.channels_last)
    bias = None if conv.bias is None else conv.bias.to(x.dtype)
    return F.conv2d(x, weight, bias, (1, layer.stride))
