"""Codes and quantised embeddings, offline and streaming, against the encodec package's own."""

from functools import cache

import pytest
import torch

from streamer.codec.embeddings import encoder_embeddings
from streamer.codec.encoder import Encoder
from streamer.codec.quantizer import TIE, Quantizer, StreamingQuantizer, quantized_codes, quantized_embeddings
from tests.codec.encodec_models import (
    encode_with_package,
    mono_model,
    short_segment_stereo_model,
    stereo_model,
    stereo_noise,
)
from tests.codec.truth import TOLERANCE, new_encodec_model, noise, relative_error

torch.set_num_threads(1)  # small tensors: more threads would only wait for each other
BANDWIDTHS_24 = (1.5, 3.0, 6.0, 12.0, 24.0)
BANDWIDTHS_48 = (3.0, 6.0, 12.0, 24.0)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS_24)
@pytest.mark.parametrize(("samples", "batch_size"), [(333, 3), (9_611, 2)])
def test_codes_of_the_mono_model_are_those_of_its_encode(bandwidth, samples, batch_size):
    audio = noise(samples, batch_size)
    [(codes, _)] = encode_with_package(mono_model(), audio, bandwidth)
    assert torch.equal(quantized_codes(mono_model(), audio, bandwidth), codes)
    kept = mono_model().quantizer.decode(codes.transpose(0, 1))
    assert relative_error(quantized_embeddings(mono_model(), audio, bandwidth), kept) <= TOLERANCE


@pytest.mark.parametrize("bandwidth", BANDWIDTHS_48)
def test_codes_of_the_stereo_model_are_those_of_its_encode(bandwidth):
    check_stereo_codes(short_segment_stereo_model(), stereo_noise(14_000), bandwidth)


@pytest.mark.slow
@pytest.mark.parametrize("bandwidth", BANDWIDTHS_48)
def test_codes_of_the_stereo_model_in_segments_of_a_second_are_those_of_its_encode(bandwidth):
    check_stereo_codes(stereo_model(), stereo_noise(50_000), bandwidth)


def check_stereo_codes(model, audio, bandwidth):
    frames = encode_with_package(model, audio, bandwidth)
    codes = quantized_codes(model, audio, bandwidth)
    quantized = quantized_embeddings(model, audio, bandwidth)
    assert len(codes) == len(quantized) == len(frames) == 2
    for ours, embedded, (theirs, _) in zip(codes, quantized, frames, strict=True):
        assert torch.equal(ours, theirs)
        assert relative_error(embedded, model.quantizer.decode(theirs.transpose(0, 1))) <= TOLERANCE


def test_the_default_bandwidth_is_six_kilobits():
    assert quantized_codes(mono_model(), noise(3_200)).shape == (1, 8, 10)


@pytest.mark.parametrize(("model", "audio"), [(mono_model, noise(36_000)), (stereo_model, stereo_noise(48_000))])
def test_many_codewords_of_each_codebook_are_used(model, audio):
    """Otherwise equal codes would prove nothing."""
    codes = quantized_codes(model(), audio, 24.0)
    codes = torch.cat(codes, dim=-1) if isinstance(codes, list) else codes
    for codebook in codes.unbind(1):
        assert len(codebook.unique()) > 30


@cache
def two_seconds():
    """Embeddings `[2, 128, 150]`."""
    return encoder_embeddings(mono_model(), noise(48_000, batch_size=2))


@pytest.mark.parametrize("bandwidth", BANDWIDTHS_24)
def test_the_quantizer_by_itself_agrees_with_the_package(bandwidth):
    embeddings = two_seconds()
    quantizer = Quantizer.from_encodec(mono_model())
    codes = quantizer.encode(embeddings, bandwidth)
    expected = mono_model().quantizer.encode(embeddings, 75, bandwidth).transpose(0, 1)
    assert_equal_except_for_ties(codes, expected, quantizer, embeddings, bandwidth)
    assert relative_error(quantizer.decode(codes), mono_model().quantizer.decode(codes.transpose(0, 1))) <= TOLERANCE


@pytest.mark.parametrize(
    ("bandwidth", "chunk", "samples"),
    [
        (1.5, 37, 4_000),
        (3.0, 320, 7_999),
        (6.0, 1_000, 12_000),
        (12.0, 5_760, 12_011),
        (24.0, 12_000, 16_011),
        pytest.param(24.0, 24_000, 100_011, marks=pytest.mark.slow),
    ],
)
def test_streamed_codes_equal_the_offline_codes_except_for_ties(bandwidth, chunk, samples):
    audio = noise(samples, batch_size=2)
    stream = StreamingQuantizer(mono_model(), bandwidth, batch_size=2)
    streamed = torch.cat([*(stream.step(piece) for piece in audio.split(chunk, dim=-1)), stream.flush()], dim=-1)
    offline = quantized_codes(mono_model(), audio, bandwidth)
    embeddings = encoder_embeddings(mono_model(), audio)
    tied = assert_equal_except_for_ties(streamed, offline, stream.quantizer, embeddings, bandwidth)
    assert stream.tied_frames.sum() == pytest.approx(tied, abs=3)  # a margin close to TIE may count on one side only


def assert_equal_except_for_ties(codes, expected, quantizer, embeddings, bandwidth):
    """Check that frames differ only from a tie on, and that few do; return the number of frames with ties."""
    assert codes.shape == expected.shape
    _, margins = quantizer.encode_with_margins(embeddings, bandwidth)
    differs = codes != expected  # [B, K, F]
    first = differs.int().argmax(dim=1, keepdim=True)  # [B, 1, F]
    different_frames = differs.any(dim=1)  # [B, F]
    margin_there = margins.gather(1, first)[:, 0]
    assert (margin_there[different_frames] < TIE).all()
    assert different_frames.sum() <= max(1, 0.001 * different_frames.numel())
    return int((margins < TIE).any(dim=1).sum())


def test_a_stream_left_out_of_a_step_gets_no_codes_and_keeps_its_state():
    audio = noise(9_600, batch_size=2)
    stream = StreamingQuantizer(mono_model(), 3.0, batch_size=2)
    out = stream.step(audio, torch.tensor([True, False]))
    assert stream.frame_counts.tolist() == [30, 0]
    assert (out[1] == -1).all()
    stream.reset(torch.tensor([True, False]))
    assert torch.equal(stream.step(audio)[0], out[0])


def test_loaded_weights_are_used():
    """The encoder's too, of which the CPU engine holds copies."""
    stream, audio = StreamingQuantizer(mono_model()), noise(4_800)
    before = stream.step(audio)
    weights = stream.state_dict()
    stream.load_state_dict({key: 0.5 * value if "encoder" in key else value for key, value in weights.items()})
    stream.reset()
    after = stream.step(audio)
    assert after.shape == before.shape
    assert not torch.equal(after, before)


def test_ties_are_counted_until_reset():
    stream = StreamingQuantizer(mono_model(), 1.5, batch_size=2)
    twins = stream.quantizer.codebooks[0]
    twins[512:] = twins[:512]  # every codeword twice: nothing but ties
    stream.step(noise(3_200, batch_size=2))
    assert stream.tied_frames.tolist() == [10, 10]
    stream.reset(torch.tensor([False, True]))
    assert stream.tied_frames.tolist() == [10, 0]


@pytest.mark.parametrize(
    ("model", "bandwidth", "known"), [(mono_model, 5.0, "1.5, 3, 6, 12, 24"), (stereo_model, 1.5, "3, 6, 12, 24")]
)
def test_an_unknown_bandwidth_is_refused_with_the_supported_ones(model, bandwidth, known):
    with pytest.raises(ValueError, match=known):
        quantized_codes(model(), torch.zeros(1, model().channels, 320), bandwidth)


def test_the_given_model_keeps_its_bandwidth():
    before = mono_model().bandwidth
    quantized_embeddings(mono_model(), noise(3_200), 24.0)
    assert mono_model().bandwidth == before


def test_a_model_without_trained_codebooks_is_refused_with_where_to_get_them():
    encoder = Encoder.from_encodec(mono_model())
    with pytest.raises(ValueError, match=r"Encoder has no codebooks.*encodec_model_24khz\(\).*93 MB"):
        quantized_codes(encoder, noise(3_200))
    with pytest.raises(ValueError, match="all zeros, because it was made with pretrained=False"):
        quantized_embeddings(new_encodec_model(), noise(3_200))
