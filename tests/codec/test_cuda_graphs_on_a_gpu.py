"""The captured step as a real CUDA graph; needs a CUDA GPU."""

import numpy as np
import pytest
import torch

from streamer.codec import StreamingEncoder
from streamer.emotion.model import EmotionDetectionModel
from streamer.pipeline.inference import Inference
from streamer.pipeline.windows import InferenceSettings
from tests.codec.truth import encoder, noise, relative_error

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")

PREPARED = 5760  # samples: 240 ms
CUDA_TOLERANCE = 1e-4  # relative, float32: other kernels, other orders of summation


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.fixture
def no_waiting():
    """Make every wait of the host for the GPU an error."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def on_gpu(batch_size, dtype=torch.float32):
    streaming = StreamingEncoder(encoder(), batch_size).to("cuda", dtype)
    streaming.prepare(PREPARED)
    assert streaming._fixed_step is not None  # else the tests below would compare the plain path with itself
    return streaming


def steps_of(batch_size):
    masks = [None, None, [i % 2 == 0 for i in range(batch_size)], [i == 1 for i in range(batch_size)], None]
    lengths = [PREPARED, PREPARED, PREPARED, 2 * PREPARED, PREPARED + 777]
    return [
        (noise(length, batch_size, seed), None if mask is None else torch.tensor(mask))
        for seed, (length, mask) in enumerate(zip(lengths, masks, strict=True))
    ]


def test_a_graph_equals_the_cpu():
    streaming, plain = on_gpu(4), StreamingEncoder(encoder(), 4)
    for audio, mask in steps_of(4):
        frames, expected = streaming.step(audio, mask), plain.step(audio, mask)
        assert torch.equal(streaming.frame_counts, plain.frame_counts)
        assert relative_error(frames.cpu(), expected) <= CUDA_TOLERANCE
    assert relative_error(streaming.flush().cpu(), plain.flush()) <= CUDA_TOLERANCE


def test_bfloat16_is_near():
    streaming, plain = on_gpu(2, torch.bfloat16), StreamingEncoder(encoder(), 2)
    for audio, mask in steps_of(2):
        assert relative_error(streaming.step(audio, mask).float().cpu(), plain.step(audio, mask)) <= 0.05


def test_growing_keeps_the_streams_and_captures_anew():
    streaming, plain = on_gpu(1), StreamingEncoder(encoder(), 1)
    audio = noise(3 * PREPARED, 3)
    for begin in (0, PREPARED):
        piece = audio[:1, :, begin : begin + PREPARED]
        assert relative_error(streaming.step(piece).cpu(), plain.step(piece)) <= CUDA_TOLERANCE
    streaming.grow(3)
    assert streaming._fixed_step is not None
    last = audio[..., 2 * PREPARED :]
    frames = streaming.step(last, torch.tensor([True, False, False]))
    assert relative_error(frames[:1].cpu(), plain.step(last[:1])) <= CUDA_TOLERANCE
    assert not frames[1:].any()


def test_the_encoder_never_waits_for_the_gpu(no_waiting):
    torch.cuda.set_sync_debug_mode("default")
    streaming = on_gpu(4)
    steps = steps_of(4)
    streaming.step(*steps[0])
    torch.cuda.set_sync_debug_mode("error")
    for audio, mask in steps:
        streaming.step(audio, mask)
    streaming.reset(torch.tensor([True, False, False, True]))
    streaming.flush()


def test_inference_waits_only_for_the_probabilities(no_waiting, monkeypatch):
    torch.cuda.set_sync_debug_mode("default")
    inference = Inference(EmotionDetectionModel(8), 3, InferenceSettings(75, 18, min_speech=0.0), device="cuda")
    inference.warm_up()
    read = Inference._read

    def read_waiting(self, pending):
        torch.cuda.set_sync_debug_mode("default")
        try:
            return read(self, pending)
        finally:
            torch.cuda.set_sync_debug_mode("error")

    monkeypatch.setattr(Inference, "_read", read_waiting)
    torch.cuda.set_sync_debug_mode("error")
    samples = (np.random.default_rng(0).standard_normal(3 * PREPARED) * 0.05).astype(np.float32)
    results = inference.step({row: samples[: (row + 1) * PREPARED] for row in range(3)}, newest_only=[2])
    assert [result.row for result in results].count(1) == 2
