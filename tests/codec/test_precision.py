"""Reduced precision: close to float32, whatever the chunks, with state and frames in float32."""

from copy import deepcopy

import pytest
import torch

from streamer.codec import StreamingEncoder
from streamer.codec.cpu import selftest
from tests.codec.truth import encoder, noise, offline, relative_error

# Random weights over noise; measured were 0.009 and, between chunk lengths, 0.004 at most.
PRECISIONS = ("bfloat16", "int8")
BOUND = 0.02
CHUNKING_BOUND = 0.01


@pytest.fixture(scope="module", params=PRECISIONS)
def precision(request):
    works = selftest.int8_lstm() if request.param == "int8" else selftest.onednn_product(torch.bfloat16)
    if not works:
        pytest.skip(f"{request.param} does not work on this machine")
    return request.param


@pytest.fixture(scope="module")
def reduced(precision):
    one = deepcopy(encoder())
    one.precision = precision
    streamings = {batch_size: StreamingEncoder(one, batch_size) for batch_size in (1, 3)}

    def fresh(batch_size):
        streamings[batch_size].reset()
        return streamings[batch_size]

    return fresh


def stream(streaming, audio, chunk):
    frames = [streaming.step(piece) for piece in audio.split(chunk, dim=-1)]
    return torch.cat((*frames, streaming.flush()), dim=-1)


@pytest.mark.parametrize("chunk", [320, 1000, 5760])
def test_frames_are_near_the_offline_encoders(chunk, reduced):
    audio = noise(12_345)
    frames = stream(reduced(1), audio, chunk)
    assert frames.dtype == torch.float32
    assert 1e-4 < relative_error(frames, offline(audio)) < BOUND


def test_chunks_change_frames_by_rounding_only(reduced):
    audio = noise(9600)
    assert relative_error(stream(reduced(1), audio, 320), stream(reduced(1), audio, 4800)) < CHUNKING_BOUND


def test_a_batch_gives_nearly_what_each_stream_gives_alone(reduced):
    audio = noise(6400, batch_size=3)
    together = stream(reduced(3), audio, 1600)
    for index in range(3):
        alone = stream(reduced(1), audio[index : index + 1], 1600)
        assert relative_error(together[index : index + 1], alone) < CHUNKING_BOUND


def test_state_stays_in_float32(reduced):
    streaming = reduced(1)
    streaming.step(noise(3200))
    assert {tensor.dtype for tensor in streaming._state.tensors()} == {torch.float32}


def test_a_reset_stream_is_as_new(reduced):
    audio = noise(5000)
    first = stream(reduced(1), audio, 700)
    assert torch.equal(stream(reduced(1), audio, 700), first)
