"""Engines that are installed do the same work; each that is missing is named in one line."""

from importlib.util import find_spec

import pytest
import torch

from streamer.bench import engines
from streamer.bench.onnx_stream import OnnxStream
from streamer.bench.openvino_stream import OpenVinoStream, reduced_precisions
from streamer.codec import Encoder, StreamingEncoder
from streamer.codec.layers import ConvState
from streamer.extras import install_command
from tests.conftest import missing


def needs(*packages, extra="bench"):
    for package in packages:
        if find_spec(package) is None:
            missing(package, install_command(extra))


@pytest.fixture
def encoder():
    torch.manual_seed(3)
    return Encoder().eval().requires_grad_(False)


@pytest.mark.real
@pytest.mark.parametrize(("batch_size", "frames"), [(1, 1), (1, 6), (2, 3)])
def test_the_onnx_graph_continues_as_the_streaming_encoder_does(batch_size, frames, encoder):
    needs("onnx", "onnxruntime")
    ours = StreamingEncoder(encoder, batch_size)
    ours.step(0.1 * torch.randn(batch_size, 1, 2240))
    onnx = OnnxStream(encoder, batch_size, frames)
    onnx.states = dict(zip(onnx.states, _onnx_states(ours), strict=True))
    for _ in range(3):
        audio = 0.1 * torch.randn(batch_size, 1, frames * 320)
        torch.testing.assert_close(torch.from_numpy(onnx.step(audio.numpy())), ours.step(audio), rtol=1e-4, atol=1e-5)


@pytest.mark.real
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
@pytest.mark.parametrize(("batch_size", "frames"), [(1, 1), (2, 3)])
def test_openvino_continues_as_the_streaming_encoder_does(batch_size, frames, precision, tolerance, encoder):
    needs("onnx", "openvino", extra="peers")
    if precision not in ("float32", *reduced_precisions()):
        pytest.skip(f"OpenVINO does not compute in {precision} on this processor")
    ours = StreamingEncoder(encoder, batch_size)
    ours.step(0.1 * torch.randn(batch_size, 1, 2240))
    peer = OpenVinoStream(encoder, batch_size, frames, precision=precision)
    peer.set_states(list(_onnx_states(ours)))
    for _ in range(3):
        audio = 0.1 * torch.randn(batch_size, 1, frames * 320)
        expected = ours.step(audio)
        assert (torch.from_numpy(peer.step(audio.numpy())) - expected).norm() <= tolerance * expected.norm()


def _onnx_states(streaming):
    """Ours are [B, T, C] and [B, layers, C]; ONNX wants [B, C, T], and [1, B, C] of every layer."""
    for state in streaming._state.layers.values():
        if isinstance(state, ConvState):
            if state.tail.numel():
                yield state.tail.transpose(1, 2).numpy()
        else:
            for layer in range(state.hidden.shape[1]):
                yield state.hidden[:, layer][None].numpy()
                yield state.cell[:, layer][None].numpy()


@pytest.mark.real
def test_every_engine_runs_steps_of_the_given_chunks(encoder):
    needs("onnx", "onnxruntime")
    needs("openvino", extra="peers")
    found = engines.find_engines().steps
    assert {"onnxruntime", "openvino float32"} <= {engine.name for engine in found}
    for engine in found:
        assert engine.make(encoder, torch.randn(2, 1, 640), 1)().shape == (2, 128, 2)


def test_re_encoding_encodes_every_window_by_itself(monkeypatch):
    encoded = []

    class Model:
        encoder = encoded.append

    monkeypatch.setattr(engines, "import_encodec", lambda: _Package)
    _Package.EncodecModel.encodec_model_24khz = lambda pretrained: Model
    (encodec, *_) = engines.find_engines().windows
    encodec.make(torch.zeros(3, 1, 1000))()
    assert [tuple(window.shape) for window in encoded] == [(1, 1, 1000)] * 3


class _Package:
    class EncodecModel:
        pass


def test_a_missing_engine_is_named_with_the_cure(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    found = engines.find_engines()
    assert not found.steps
    assert [engine.name for engine in found.windows] == ["encodec, re-encoding"]
    onnx, openvino, transformers = found.missing
    assert install_command("bench") in onnx
    assert install_command("peers") in openvino
    assert "install transformers" in transformers
