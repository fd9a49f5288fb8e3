"""EnCodec models of the encodec package with codebooks that are used, and its own `encode`, to compare with."""

from functools import cache

import torch

from streamer.codec import import_encodec
from tests.codec.truth import new_encodec_model, noise


def fill_codebooks(model, audio):
    """Random codewords of the size of what is left for each codebook; the package's untrained ones are all zeros."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        embeddings = model.encoder(audio).transpose(1, 2).flatten(0, 1)  # [N, 128]
    for layer in model.quantizer.vq.layers:
        codebook = layer._codebook
        codebook.embed.copy_(
            embeddings.mean(0) + embeddings.std(0) * torch.randn(codebook.embed.shape, generator=generator)
        )
        embeddings = embeddings - layer.decode(layer.encode(embeddings.t()[None]))[0].t()


@cache
def mono_model():
    """The 24 kHz model with codebooks. Do not change it."""
    model = new_encodec_model()
    fill_codebooks(model, noise(48_000))
    return model


@cache
def stereo_model():
    """The 48 kHz model with codebooks. Do not change it."""
    torch.manual_seed(48_000)
    model = import_encodec().EncodecModel.encodec_model_48khz(pretrained=False).requires_grad_(False)
    audio = noise(48_000, batch_size=2).transpose(0, 1)
    fill_codebooks(model, audio / audio.std())
    return model


@cache
def short_segment_stereo_model():
    """The same in segments of 0.25 s instead of 1 s: a quarter of the work. Do not change it."""
    torch.manual_seed(48_000)
    model = import_encodec().EncodecModel.encodec_model_48khz(pretrained=False).requires_grad_(False)
    model.segment = 0.25
    model.load_state_dict(stereo_model().state_dict())
    return model


def stereo_noise(samples, batch_size=1):
    return torch.cat([noise(samples, batch_size), noise(samples, batch_size, seed=7)], dim=1)


def encode_with_package(model, audio, bandwidth):
    """`model.encode`, leaving the model's own bandwidth as it was."""
    before = model.bandwidth
    model.set_target_bandwidth(bandwidth)
    try:
        return model.encode(audio)
    finally:
        model.bandwidth = before
