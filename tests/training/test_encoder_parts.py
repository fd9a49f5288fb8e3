"""The encoder in two parts equals the encoder."""

import pytest
import torch

from streamer.codec import Encoder
from streamer.constants import FRAME_SAMPLES
from streamer.training.encoder_parts import DEEP_LAYER, LSTM_LAYER, STEM_DIMS, lower_layers, upper_layers


@pytest.mark.parametrize("cut", [LSTM_LAYER, DEEP_LAYER])
@pytest.mark.parametrize("frames", [7, 20])
def test_lower_and_upper_layers_together_are_the_encoder(frames: int, cut: int) -> None:
    torch.manual_seed(0)
    encoder = Encoder()
    audio = 0.1 * torch.randn(2, frames * FRAME_SAMPLES)
    with torch.no_grad():
        whole = encoder(audio[:, None])
        features = lower_layers(encoder, audio, end=cut)
        parts = upper_layers(encoder, features, begin=cut)
    assert features.shape == (2, frames, STEM_DIMS[cut])
    assert parts.shape == whole.shape
    assert torch.allclose(parts, whole, atol=1e-5)


def test_gradients_reach_the_first_convolution_in_bfloat16() -> None:
    torch.manual_seed(0)
    encoder = Encoder()
    lower_layers(encoder, 0.1 * torch.randn(1, 8 * FRAME_SAMPLES), torch.bfloat16).float().square().mean().backward()
    gradient = next(encoder.parameters()).grad
    assert gradient is not None
    assert gradient.dtype == torch.float32
    assert gradient.abs().sum() > 0
