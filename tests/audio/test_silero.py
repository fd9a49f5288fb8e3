"""The network for voice activity in plain torch equals the packaged TorchScript model."""

import pickle
import warnings
import zipfile
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch

from streamer.audio import silero_weights
from streamer.audio.silero import PLAIN, Kernels, SileroNetwork
from streamer.audio.silero_weights import load_weights
from streamer.audio.vad_input import CHUNK, VAD_CHUNK, VAD_CONTEXT, VadInput
from streamer.codec.cpu.pack import packed_lstm, small_product
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.sources.demo import DEMO
from tests.support.vowels import high_voice, vowels

PACKED = Kernels(small_product, packed_lstm)


@cache
def original() -> Any:
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load.*is deprecated")
        from silero_vad import load_silero_vad

        model = load_silero_vad()
    torch.set_num_threads(threads)  # importing silero_vad sets one
    return model


def speech() -> np.ndarray:
    """20 s of the bundled recording of synthetic speech, then other kinds of sound, at 16 kHz."""
    rng = np.random.default_rng(0)
    demo, rate_hz = soundfile.read(DEMO, dtype="float32")
    sounds = [vowels(2.0), high_voice(), rng.normal(0, 0.05, SAMPLE_RATE)]
    others = soxr.resample(np.concatenate(sounds), SAMPLE_RATE, 16_000)
    return np.concatenate([soxr.resample(demo[: 20 * rate_hz], rate_hz, 16_000), others]).astype(np.float32)


def chunks_of(audio: np.ndarray) -> torch.Tensor:
    before = np.concatenate([np.zeros(VAD_CONTEXT, np.float32), audio])
    begins = range(0, len(audio) - VAD_CHUNK + 1, VAD_CHUNK)
    return torch.from_numpy(np.stack([before[i : i + VAD_CONTEXT + VAD_CHUNK] for i in begins]))


@pytest.mark.parametrize("kernels", [PLAIN, PACKED], ids=["plain", "packed"])
def test_its_probabilities_are_those_of_the_packaged_model(kernels):
    audio = speech()
    chunks = chunks_of(audio)
    original().reset_states()
    with torch.inference_mode():
        expected = [float(original()(torch.from_numpy(chunk), 16_000)) for chunk in chunks[:, VAD_CONTEXT:].numpy()]
    network = SileroNetwork(kernels)
    features, hidden, cell, found = network.features(chunks), torch.zeros(1, 1, 128), torch.zeros(1, 1, 128), []
    for begin, end in pairwise([0, 1, 8, 15, 100, len(chunks)]):
        probabilities, hidden, cell = network.probabilities(features[begin:end, None], hidden, cell)
        found += probabilities[:, 0].tolist()
    assert 0.2 < np.mean(np.array(expected) > 0.5) < 0.98
    assert found == pytest.approx(expected, abs=1e-4)


def test_many_chunks_at_once_give_what_each_gives_alone():
    network, chunks = SileroNetwork(PACKED), chunks_of(speech())[:330]
    alone = torch.cat([network.features(chunk[None]) for chunk in chunks])
    torch.testing.assert_close(network.features(chunks), alone, atol=1e-4, rtol=1e-4)


def test_the_weights_are_those_of_the_packaged_model():
    expected = original()._model.state_dict()
    weights = load_weights()
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], atol=0, rtol=0)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "another module"])
def test_weights_that_cannot_be_read_are_one_sentence(damage, monkeypatch, tmp_path):
    archive = tmp_path / "silero_vad.jit"
    if damage == "empty":
        archive.write_bytes(b"")
    if damage == "cut":
        archive.write_bytes(b"PK\x03\x04" + bytes(100))
    if damage == "another module":
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("x/data.pkl", pickle.dumps(Path))
    monkeypatch.setattr(silero_weights, "_ARCHIVE", archive)  # an absolute path: the package's folder is left out
    with pytest.raises(StreamerError, match="pip install"):
        load_weights()


def resampled(audio: np.ndarray) -> np.ndarray:
    """What the network gets of `audio` at 16 kHz, without the chunks' contexts; not made louder."""
    plain, _ = VadInput().take(audio / 4)
    return SileroNetwork().to_16_khz(torch.from_numpy(plain.copy()))[:, VAD_CONTEXT:].numpy().ravel()


@pytest.mark.parametrize("hz", [100.0, 1_000.0, 5_500.0])
def test_a_tone_is_the_same_at_16_khz(hz):
    audio = (0.2 * np.sin(2 * np.pi * hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)
    found = resampled(audio)
    expected = 0.2 * np.sin(2 * np.pi * hz * np.arange(len(found)) / 16_000)
    np.testing.assert_allclose(found[100:], expected[100:], atol=0.001)


@pytest.mark.parametrize("hz", [8_100.0, 9_500.0, 11_900.0])
def test_a_tone_that_16_khz_cannot_hold_is_gone(hz):
    audio = (0.2 * np.sin(2 * np.pi * hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)
    assert np.abs(resampled(audio)[100:]).max() < 0.001


def test_chunks_come_as_soon_as_their_audio_and_the_filter_s_are_there():
    source = VadInput()
    assert [len(chunks) for chunks in source.take(np.zeros(CHUNK + 35, np.float32))] == [0, 1]
    assert [len(chunks) for chunks in source.take(np.zeros(1, np.float32))] == [1, 0]
