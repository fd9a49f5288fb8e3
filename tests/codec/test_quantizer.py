"""Embeddings and codes of whole recordings and of streams, against the encodec package's own."""

from functools import cache

import pytest
import torch

from streamer.codec import Encoder, import_encodec
from streamer.codec.embeddings import encode_segments, encoder_embeddings
from streamer.codec.quantizer import TIE, Quantizer, StreamingQuantizer, quantized_codes, quantized_embeddings
from streamer.codec.waveform import AudioConversionWarning, convert_audio
from tests.codec.truth import TOLERANCE, new_encodec_model, noise, relative_error

torch.set_num_threads(1)  # small tensors: more threads would only wait for each other
BANDWIDTHS_24 = (1.5, 3.0, 6.0, 12.0, 24.0)
BANDWIDTHS_48 = (3.0, 6.0, 12.0, 24.0)


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


@pytest.mark.parametrize("samples", [1, 319, 320, 2_239, 7_777, 24_000])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_embeddings_of_the_mono_model_are_those_of_its_encoder(samples, batch_size):
    audio = noise(samples, batch_size)
    embeddings = encoder_embeddings(mono_model(), audio)
    assert embeddings.shape == (batch_size, 128, -(-samples // 320))
    assert relative_error(embeddings, mono_model().encoder(audio)) <= TOLERANCE
    assert relative_error(encoder_embeddings(Encoder.from_encodec(mono_model()), audio), embeddings) <= TOLERANCE


@pytest.mark.parametrize("samples", [0, 1_000, 47_521, 50_000])
def test_embeddings_of_the_stereo_model_come_by_the_segment_and_volume_of_its_encode(samples):
    """The decoder multiplies by the scale: with the same scale and the same codes the embeddings were the same."""
    audio = stereo_noise(samples, batch_size=2)
    embeddings = encoder_embeddings(stereo_model(), audio)
    segments = list(encode_segments(stereo_model(), audio))
    frames = encode_with_package(stereo_model(), audio, 24.0)
    assert isinstance(embeddings, list)
    assert len(embeddings) == len(segments) == len(frames)
    for emb, segment, (codes, scale) in zip(embeddings, segments, frames, strict=True):
        assert relative_error(segment.scale, scale) <= TOLERANCE
        assert emb.shape == (2, 128, codes.shape[-1])
        again = stereo_model().quantizer.encode(emb, stereo_model().frame_rate, 24.0).transpose(0, 1)
        assert torch.equal(again, codes)


def test_a_louder_recording_has_the_same_embeddings_in_the_model_that_normalises():
    audio = stereo_noise(30_000)
    (quiet,) = encoder_embeddings(stereo_model(), audio)
    (loud,) = encoder_embeddings(stereo_model(), 8 * audio)
    assert relative_error(quiet, loud) <= TOLERANCE


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
    audio = stereo_noise(50_000)
    frames = encode_with_package(stereo_model(), audio, bandwidth)
    codes = quantized_codes(stereo_model(), audio, bandwidth)
    kept = quantized_embeddings(stereo_model(), audio, bandwidth)
    assert len(codes) == len(kept) == len(frames) == 2
    for mine, embedded, (theirs, _) in zip(codes, kept, frames, strict=True):
        assert torch.equal(mine, theirs)
        assert relative_error(embedded, stereo_model().quantizer.decode(theirs.transpose(0, 1))) <= TOLERANCE


def test_the_default_bandwidth_is_six_kilobits():
    assert quantized_codes(mono_model(), noise(3_200)).shape == (1, 8, 10)


@pytest.mark.parametrize(("model", "audio"), [(mono_model, noise(72_000)), (stereo_model, stereo_noise(96_000))])
def test_these_codebooks_are_really_used(model, audio):
    """Otherwise equal codes would say nothing."""
    codes = quantized_codes(model(), audio, 24.0)
    codes = torch.cat(codes, dim=-1) if isinstance(codes, list) else codes
    for codebook in codes.unbind(1):
        assert len(codebook.unique()) > 30


@pytest.mark.parametrize("bandwidth", BANDWIDTHS_24)
def test_the_quantizer_by_itself_agrees_with_the_package(bandwidth):
    embeddings = encoder_embeddings(mono_model(), noise(48_000, batch_size=2))
    quantizer = Quantizer.from_encodec(mono_model())
    codes = quantizer.encode(embeddings, bandwidth)
    expected = mono_model().quantizer.encode(embeddings, 75, bandwidth).transpose(0, 1)
    assert_equal_but_for_ties(codes, expected, quantizer, embeddings, bandwidth)
    assert relative_error(quantizer.decode(codes), mono_model().quantizer.decode(codes.transpose(0, 1))) <= TOLERANCE


@pytest.mark.parametrize(
    ("bandwidth", "chunk", "samples"),
    [(1.5, 37, 5_000), (3.0, 320, 9_999), (6.0, 1_000, 24_000), (12.0, 5_760, 24_011), (24.0, 24_000, 100_011)],
)
def test_streamed_codes_are_the_offline_codes_but_for_ties(bandwidth, chunk, samples):
    audio = noise(samples, batch_size=2)
    stream = StreamingQuantizer(mono_model(), bandwidth, batch_size=2)
    streamed = torch.cat([*(stream.step(piece) for piece in audio.split(chunk, dim=-1)), stream.flush()], dim=-1)
    offline = quantized_codes(mono_model(), audio, bandwidth)
    embeddings = encoder_embeddings(mono_model(), audio)
    tied = assert_equal_but_for_ties(streamed, offline, stream.quantizer, embeddings, bandwidth)
    assert stream.tied_frames.sum() == pytest.approx(tied, abs=3)  # a frame on the verge counts on one side only


def assert_equal_but_for_ties(codes, expected, quantizer, embeddings, bandwidth):
    """Every frame that differs met a tie where it first differs, and such frames are rare. Returns the ties met."""
    assert codes.shape == expected.shape
    _, margins = quantizer.encode_with_margins(embeddings, bandwidth)
    differs = codes != expected  # [B, K, F]
    first = differs.int().argmax(dim=1, keepdim=True)  # [B, 1, F]
    different_frames = differs.any(dim=1)  # [B, F]
    margin_there = margins.gather(1, first)[:, 0]
    assert (margin_there[different_frames] < TIE).all()
    assert different_frames.sum() <= max(1, 0.001 * different_frames.numel())
    return int((margins < TIE).any(dim=1).sum())


def test_a_stream_left_out_of_a_step_gives_no_codes_and_keeps_its_place():
    audio = noise(9_600, batch_size=2)
    stream = StreamingQuantizer(mono_model(), 3.0, batch_size=2)
    out = stream.step(audio, torch.tensor([True, False]))
    assert stream.frame_counts.tolist() == [30, 0]
    assert (out[1] == -1).all()
    stream.reset(torch.tensor([True, False]))
    assert torch.equal(stream.step(audio)[0], out[0])


def test_loaded_weights_are_used():
    """Those of the encoder too, of which the CPU has copies of its own."""
    stream, audio = StreamingQuantizer(mono_model()), noise(4_800)
    before = stream.step(audio)
    weights = stream.state_dict()
    stream.load_state_dict({key: 0.5 * value if "encoder" in key else value for key, value in weights.items()})
    stream.reset()
    after = stream.step(audio)
    assert after.shape == before.shape
    assert not torch.equal(after, before)


def test_ties_are_counted_and_forgotten_at_reset():
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
def test_an_unknown_bandwidth_is_refused_with_those_that_are_known(model, bandwidth, known):
    with pytest.raises(ValueError, match=known):
        quantized_codes(model(), torch.zeros(1, model().channels, 320), bandwidth)


def test_the_given_model_keeps_its_bandwidth():
    before = mono_model().bandwidth
    quantized_embeddings(mono_model(), noise(3_200), 24.0)
    assert mono_model().bandwidth == before


@pytest.mark.parametrize(
    ("shape", "cure"),
    [
        ((24_000,), r"audio\[None, None\]"),
        ((1, 24_000), r"audio\[None\]"),
        ((1, 24_000, 1), r"transpose\(1, 2\)"),
        ((2, 5, 24_000), "5 channels"),
        ((1, 1, 1, 320), "got"),
    ],
)
@pytest.mark.parametrize(("model", "expected"), [(mono_model, r"\[B, 1, T\]"), (stereo_model, r"\[B, 2, T\]")])
def test_a_wrong_shape_is_refused_with_what_it_should_have_been(model, expected, shape, cure):
    with pytest.raises(ValueError, match=rf"{expected}.*{cure}"):
        encoder_embeddings(model(), torch.zeros(shape))


def test_integers_are_refused():
    with pytest.raises(ValueError, match="32,768"):
        encoder_embeddings(mono_model(), torch.zeros(1, 1, 320, dtype=torch.int16))


def test_another_rate_and_channel_count_are_converted_and_named():
    audio = stereo_noise(44_100)
    with pytest.warns(AudioConversionWarning, match="44,100 Hz stereo was converted to 24,000 Hz mono"):
        embeddings = encoder_embeddings(mono_model(), audio, sample_rate=44_100)
    assert embeddings.shape == (1, 128, 75)
    with pytest.warns(AudioConversionWarning, match="48,000 Hz mono was converted to 48,000 Hz stereo"):
        twice = convert_audio(audio[:, :1], 48_000, stereo_model())
    assert torch.equal(twice, audio[:, :1].expand(-1, 2, -1))


def test_a_tone_keeps_its_pitch_when_the_rate_changes():
    time = torch.arange(16_000) / 16_000
    tone = torch.sin(2 * torch.pi * 440 * time)[None, None]
    with pytest.warns(AudioConversionWarning):
        converted = convert_audio(tone, 16_000, mono_model())
    spectrum = torch.fft.rfft(converted[0, 0]).abs()
    assert converted.shape == (1, 1, 24_000)
    assert spectrum.argmax() == 440


def test_gradients_reach_the_model():
    encoder = Encoder.from_encodec(mono_model()).requires_grad_(True)
    encoder_embeddings(encoder, noise(3_200)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
