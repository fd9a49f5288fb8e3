"""Reference of the codec's tests: the encodec package's own encoder, with weights that let the audio through."""

from functools import cache

import torch
from torch import Tensor

from streamer.codec import Encoder, import_encodec

TOLERANCE = 1e-5  # relative, float32: another order of summation, nothing else


@cache
def encodec_model():
    """The model to compare with. Do not change it."""
    return new_encodec_model()


def new_encodec_model():
    """A 24 kHz model, always with the same random weights. (One with weight norm cannot be deep-copied.)

    Fresh convolutions shrink what passes through them, so that embeddings would be all bias; lengthening the weights
    by sqrt(3), a uniform distribution's shortfall to variance 1 / fan-in, lets the audio through.
    """
    torch.manual_seed(24_000)
    model = import_encodec().EncodecModel.encodec_model_24khz(pretrained=False).requires_grad_(False)
    for name, parameter in model.encoder.named_parameters():
        if name.endswith("weight_g"):
            parameter.mul_(3**0.5)
        if ".lstm.weight" in name:
            parameter.mul_(2)
    return model


@cache
def encoder() -> Encoder:
    """The same weights in our encoder. Do not change it."""
    return Encoder.from_encodec(encodec_model())


@torch.no_grad()
def offline(audio: Tensor) -> Tensor:
    """`[B, 1, T]` to `[B, 128, ceil(T / 320)]` by the encodec package."""
    return encodec_model().encoder(audio)


def noise(samples: int, batch_size: int = 1, seed: int = 0) -> Tensor:
    """`[B, 1, T]`: noise whose loudness wanders, so that no two frames are alike."""
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.rand(batch_size, 1, samples // 1000 + 1, generator=generator).repeat_interleave(1000, dim=2)
    return torch.randn(batch_size, 1, samples, generator=generator) * loudness[..., :samples]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    if expected.numel() == 0:
        return 0.0
    return ((actual - expected).norm() / expected.norm()).item()


def worst_frame_error(actual: Tensor, expected: Tensor) -> float:
    """The largest relative error of any one frame of `[B, 128, F]`: no frame may hide behind the others."""
    assert actual.shape == expected.shape
    if expected.numel() == 0:
        return 0.0
    return ((actual - expected).norm(dim=1) / expected.norm(dim=1)).max().item()
