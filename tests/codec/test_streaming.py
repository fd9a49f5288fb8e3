"""Streaming equals offline, whatever the chunks; streams of one batch never touch each other."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.codec import Encoder, StreamingEncoder
from tests.codec.truth import TOLERANCE, encoder, new_encodec_model, noise, offline, relative_error, worst_frame_error

START = 2240  # samples until the first frames
SHORT = [1, 319, 320, 321, 1000, 2239]
LONG = [2240, 2241, 3840, 7777]


@cache
def kept(batch_size):
    return StreamingEncoder(encoder(), batch_size)


def used(batch_size):
    """Return an encoder shared between tests, reset: packing the weights of a new one for every example is slow."""
    streaming = kept(batch_size)
    streaming.reset()
    return streaming


def stream(audio, chunks, streaming=None):
    """All frames of `audio: [B, 1, T]` in steps of the given lengths, the last one repeated, and a flush."""
    streaming = streaming or used(audio.shape[0])
    frames, begin, chunks = [], 0, list(chunks)
    while begin < audio.shape[-1]:
        length = chunks.pop(0) if len(chunks) > 1 else chunks[0]
        frames.append(streaming.step(audio[..., begin : begin + length]))
        begin += length
    frames.append(streaming.flush())
    return torch.cat(frames, dim=-1)


def some(*streams, of):
    """A mask that names `streams`."""
    return torch.tensor([index in streams for index in range(of)])


def halved(source):
    """A copy with other weights."""
    other = deepcopy(source)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    return other


# One stream


@pytest.mark.parametrize("chunk", [37, 320, 960, 1920, 2240, 5760, 100_000])
@pytest.mark.parametrize("samples", LONG)
def test_frames_equal_the_offline_encoders(samples, chunk):
    audio = noise(samples)
    assert worst_frame_error(stream(audio, [chunk]), offline(audio)) <= TOLERANCE


@pytest.mark.parametrize("chunk", [37, 960, 100_000])
@pytest.mark.parametrize("samples", SHORT)
def test_frames_of_a_signal_too_short_to_start_equal_the_offline_encoders(samples, chunk):
    audio = noise(samples)
    assert worst_frame_error(stream(audio, [chunk]), offline(audio)) <= TOLERANCE


def test_frames_equal_the_offline_encoders_sample_by_sample():
    audio = noise(2900)
    assert worst_frame_error(stream(audio, [1]), offline(audio)) <= TOLERANCE


@settings(max_examples=10, deadline=None)
@given(chunks=st.lists(st.integers(0, 3000), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_frames_equal_the_offline_encoders_in_random_chunks(chunks, seed):
    check_random_chunks(chunks, seed)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(chunks=st.lists(st.integers(0, 3000), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_frames_equal_the_offline_encoders_in_many_random_chunks(chunks, seed):
    check_random_chunks(chunks, seed)


def check_random_chunks(chunks, seed):
    audio = noise(max(1, sum(chunks)), seed=seed)
    assert worst_frame_error(stream(audio, [*chunks, 1]), offline(audio)) <= TOLERANCE


def test_a_step_of_several_blocks_equals_the_offline_encoder():
    audio = noise(24_000 + 123)  # more than one block of 48 frames
    assert worst_frame_error(stream(audio, [audio.shape[-1]]), offline(audio)) <= TOLERANCE


def test_in_double_precision_nothing_but_rounding_differs():
    model = new_encodec_model().double()
    audio = noise(3200 + 77).double()
    frames = stream(audio, [2300, 333], StreamingEncoder.from_encodec(model))
    assert frames.dtype == torch.float64
    assert worst_frame_error(frames, model.encoder(audio)) <= 1e-12


def test_half_precision_works():
    audio = noise(4800)
    frames = stream(audio, [960], StreamingEncoder(encoder(), 1).to(torch.bfloat16))
    assert frames.dtype == torch.bfloat16
    assert relative_error(frames.float(), offline(audio)) <= 0.05


@pytest.mark.parametrize("batch_size", [1, 2])
def test_plain_torch_kernels_give_the_same_frames(batch_size, monkeypatch):
    monkeypatch.setattr(Encoder, "pack", lambda _: None)
    audio = noise(5003, batch_size)
    assert worst_frame_error(stream(audio, [777], StreamingEncoder(encoder(), batch_size)), offline(audio)) <= TOLERANCE


@pytest.mark.parametrize("chunk", [250, 320, 1999])
def test_frames_come_as_soon_as_they_are_final(chunk):
    streaming, samples, frames = StreamingEncoder(encoder()), 0, 0
    for _ in range(6000 // chunk):
        chunk_frames = streaming.step(noise(chunk))
        samples += chunk
        frames += chunk_frames.shape[-1]
        assert streaming.frame_counts.tolist() == [chunk_frames.shape[-1]]
        assert frames == (samples // 320 if samples >= START else 0)


def test_the_future_never_changes_the_past():
    past = noise(4000)
    frames = StreamingEncoder(encoder()).step(past)
    assert frames.shape[-1] == 4000 // 320
    for seed in (1, 2):
        whole = offline(torch.cat((past, noise(3000, seed=seed)), dim=-1))
        assert worst_frame_error(frames, whole[..., : 4000 // 320]) <= TOLERANCE


def test_the_callers_buffer_may_be_used_again():
    streaming, audio, frames = StreamingEncoder(encoder()), noise(5000), []
    for begin in range(0, 5000, 500):
        buffer = audio[..., begin : begin + 500].clone()
        frames.append(streaming.step(buffer))
        buffer.fill_(float("nan"))
    frames.append(streaming.flush())
    assert worst_frame_error(torch.cat(frames, dim=-1), offline(audio)) <= TOLERANCE


def test_frames_already_given_stay_as_they_are():
    streaming, audio = StreamingEncoder(encoder()), noise(6400)
    first = streaming.step(audio[..., :3200])
    kept = first.clone()
    streaming.step(audio[..., 3200:])
    assert torch.equal(first, kept)


def test_a_head_can_be_trained_on_the_frames():
    """Frames of the start, of the fast path and of the slow path."""
    streaming = StreamingEncoder(encoder())
    for samples in (3200, 960, 960, 1000, 960):
        head = torch.nn.Linear(128, 1)
        head(streaming.step(noise(samples)).transpose(1, 2)).sum().backward()
        assert head.weight.grad.abs().sum() > 0


def test_later_changes_of_the_encoder_do_not_arrive():
    source = deepcopy(encoder())
    streaming = StreamingEncoder(source)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.zero_()
    audio = noise(3200)
    assert relative_error(streaming.step(audio), offline(audio)) <= TOLERANCE


def test_moving_to_another_type_resets_and_goes_on():
    streaming = StreamingEncoder(encoder())
    streaming.step(noise(3000))
    streaming.to(torch.float64)
    audio = noise(4000)
    assert relative_error(stream(audio, [1000], streaming), offline(audio).double()) <= TOLERANCE


def test_loaded_weights_are_used_from_a_fresh_start():
    streaming, other = StreamingEncoder(encoder()), StreamingEncoder(halved(encoder()))
    streaming.step(noise(3000))
    streaming.load_state_dict(other.state_dict())
    audio = noise(5000)
    frames = stream(audio, [960], streaming)
    assert torch.equal(frames, stream(audio, [960], other))
    assert relative_error(frames, offline(audio)) > 0.1


# Several streams


@pytest.mark.parametrize("chunk", [333, 960, 4800])
def test_a_batch_gives_what_each_stream_gives_alone(chunk):
    audio = noise(7000, batch_size=3)
    together = stream(audio, [chunk])
    assert worst_frame_error(together, offline(audio)) <= TOLERANCE
    for index in range(3):
        assert worst_frame_error(together[index : index + 1], stream(audio[index : index + 1], [chunk])) <= TOLERANCE


@pytest.mark.parametrize("before", [0, 1000, 3000], ids=["fresh", "starting", "running"])
def test_a_stream_left_out_of_a_step_is_untouched(before):
    audio = noise(before + 4000, batch_size=3)
    streaming = StreamingEncoder(encoder(), 3)
    early = streaming.step(audio[..., :before])
    assert streaming.step(noise(1234, 3, seed=9), exec_mask=some(of=3)).shape == (3, 128, 0)
    strange = torch.full((3, 1, 1234), float("nan"))
    strange[1] = noise(1234, seed=8)[0]
    streaming.step(strange, exec_mask=some(1, of=3))
    assert streaming.frame_counts[[0, 2]].tolist() == [0, 0]
    later = streaming.step(audio[..., before:])
    counts = streaming.frame_counts
    for index in (0, 2):
        frames = torch.cat((early[index], later[index, :, : counts[index]]), dim=-1)
        whole = offline(audio[index : index + 1])[..., : (before + 4000) // 320]
        assert worst_frame_error(frames[None], whole) <= TOLERANCE


def test_reset_of_one_stream_leaves_the_others():
    audio, fresh = noise(8000, batch_size=3), noise(4000, seed=5)
    streaming = StreamingEncoder(encoder(), 3)
    early = streaming.step(audio[..., :4000])
    streaming.reset(some(1, of=3))
    second = audio[..., 4000:].clone()
    second[1] = fresh[0]
    later = streaming.step(second)
    assert streaming.frame_counts.tolist() == [13, 12, 13]  # 8,000 samples are 25 frames, of which 12 had come
    whole = offline(audio)
    for index in (0, 2):
        frames = torch.cat((early[index], later[index]), dim=-1)
        assert worst_frame_error(frames[None], whole[index : index + 1]) <= TOLERANCE
    assert worst_frame_error(later[1:2, :, :12], offline(fresh)[..., :12]) <= TOLERANCE


def test_rows_are_left_aligned_and_filled_up_with_zeros():
    streaming = StreamingEncoder(encoder(), 2)
    streaming.step(noise(2240, 2), exec_mask=some(0, of=2))
    frames = streaming.step(noise(3200, 2))
    assert streaming.frame_counts.dtype == torch.int64
    assert streaming.frame_counts.tolist() == [10, 10]
    frames = streaming.step(noise(700, 2, seed=4), exec_mask=some(1, of=2))
    assert streaming.frame_counts.tolist() == [0, 2]
    assert frames.shape == (2, 128, 2)
    assert torch.count_nonzero(frames[0]) == 0
    assert torch.count_nonzero(frames[1]) == frames[1].numel()


@settings(max_examples=6, deadline=None)
@given(data=st.data(), lengths=st.lists(st.integers(0, 6000), min_size=3, max_size=3))
def test_streams_at_any_phase_share_a_batch(data, lengths):
    check_phases(data, lengths, smallest_chunk=150)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(data=st.data(), lengths=st.lists(st.integers(0, 6000), min_size=3, max_size=3))
def test_streams_at_any_phase_share_a_batch_even_sample_by_sample(data, lengths):
    check_phases(data, lengths, smallest_chunk=1)


def check_phases(data, lengths, smallest_chunk):
    """Streams of different lengths step at random times and end when all of their audio was encoded."""
    audio = noise(6000, batch_size=3)
    streaming = used(3)
    given_so_far, frames = [0, 0, 0], [[], [], []]

    def collect(batch):
        for index, count in enumerate(streaming.frame_counts.tolist()):
            frames[index].append(batch[index, :, :count])

    while any(taken < length for taken, length in zip(given_so_far, lengths, strict=True)):
        chunk = data.draw(st.integers(smallest_chunk, 3000))
        taking = [
            index
            for index in range(3)
            if given_so_far[index] + chunk <= lengths[index] and (data.draw(st.booleans()) or chunk > 1000)
        ]
        block = torch.full((3, 1, chunk), float("nan"))
        for index in taking:
            block[index] = audio[index, :, given_so_far[index] : given_so_far[index] + chunk]
            given_so_far[index] += chunk
        collect(streaming.step(block, exec_mask=some(*taking, of=3)))
        lengths = [g if g + 500 > length else length for g, length in zip(given_so_far, lengths, strict=True)]
        through = [index for index in range(3) if given_so_far[index] >= lengths[index]]
        collect(streaming.flush(some(*through, of=3)))
    for index in range(3):
        if given_so_far[index]:
            whole = offline(audio[index : index + 1, :, : given_so_far[index]])
            assert worst_frame_error(torch.cat(frames[index], dim=-1)[None], whole) <= TOLERANCE


# Ends


def test_flush_of_some_streams_leaves_the_others():
    audio = noise(7777, batch_size=3)
    streaming = StreamingEncoder(encoder(), 3)
    early = streaming.step(audio[..., :5000])
    ending = streaming.flush(some(0, of=3))
    assert streaming.frame_counts.tolist() == [1, 0, 0]
    later = streaming.step(audio[..., 5000:], exec_mask=some(1, 2, of=3))
    last = streaming.flush(some(1, 2, of=3))
    short, whole = offline(audio[:1, :, :5000]), offline(audio)
    assert worst_frame_error(torch.cat((early[:1], ending[:1]), dim=-1), short) <= TOLERANCE
    assert worst_frame_error(torch.cat((early, later, last), dim=-1)[1:], whole[1:]) <= TOLERANCE


def test_an_ended_stream_refuses_audio_until_it_is_reset():
    audio = noise(3000, batch_size=2)
    streaming = StreamingEncoder(encoder(), 2)
    streaming.step(audio)
    streaming.flush(some(1, of=2))
    with pytest.raises(RuntimeError, match=r"\[1\].*reset"):
        streaming.step(audio)
    streaming.step(audio, exec_mask=some(0, of=2))
    streaming.reset(some(1, of=2))
    frames = streaming.step(audio)
    assert worst_frame_error(frames[1:, :, :9], offline(audio[1:])[..., :9]) <= TOLERANCE


@pytest.mark.parametrize("samples", [0, 1000, 3000, 3200])
def test_a_second_flush_gives_nothing(samples):
    streaming = StreamingEncoder(encoder())
    streaming.step(noise(samples))
    streaming.flush()
    assert streaming.flush().shape == (1, 128, 0)
    assert streaming.frame_counts.tolist() == [0]
    assert streaming.step(noise(0)).shape == (1, 128, 0)


def test_a_reset_stream_is_as_new():
    streaming, audio = StreamingEncoder(encoder()), noise(5001)
    stream(noise(4321, seed=7), [960], streaming)
    streaming.reset()
    assert torch.equal(stream(audio, [700], streaming), stream(audio, [700], StreamingEncoder(encoder())))


# Mistakes


@pytest.mark.parametrize("shape", [(2, 320), (1, 1, 320), (2, 2, 320), (320,)])
def test_audio_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"\[2, 1, samples\]"):
        StreamingEncoder(encoder(), 2).step(torch.zeros(shape))


def test_integer_samples_are_refused():
    with pytest.raises(ValueError, match="floats"):
        StreamingEncoder(encoder()).step(torch.zeros(1, 1, 320, dtype=torch.int16))


@pytest.mark.parametrize("mask", [torch.ones(3, dtype=torch.bool), torch.ones(2)])
def test_a_mask_of_another_kind_is_refused(mask):
    with pytest.raises(ValueError, match=r"\[2\] bool"):
        StreamingEncoder(encoder(), 2).step(torch.zeros(2, 1, 320), exec_mask=mask)


# Streams that come


@pytest.mark.parametrize("chunk", [77, 960, 2500])
def test_growing_changes_no_bit_of_the_streams_there_are(chunk):
    audio, some_of = noise(9000, 2), some(0, 1, of=5)
    grown, plain = StreamingEncoder(encoder(), 2), StreamingEncoder(encoder(), 2)
    for begin in range(0, 9000, chunk):
        if begin // chunk == 2:
            grown.grow(5)
        piece = audio[..., begin : begin + chunk]
        expected = plain.step(piece)
        if grown.batch_size == 2:
            frames = grown.step(piece)
        else:
            frames = grown.step(torch.cat((piece, noise(piece.shape[-1], 3))), some_of)
            assert grown.frame_counts.tolist()[2:] == [0, 0, 0]
        assert torch.equal(frames[:2], expected)
    assert torch.equal(grown.flush(some_of)[:2], plain.flush())


def test_a_stream_that_comes_is_fresh():
    audio = noise(7000, 2)
    streaming = StreamingEncoder(encoder(), 1)
    streaming.step(audio[:1])
    streaming.grow(2)
    frames = [streaming.step(audio, some(1, of=2)), streaming.flush(some(1, of=2))]
    assert worst_frame_error(torch.cat(frames, dim=-1)[1:], offline(audio[1:])) <= TOLERANCE


def test_a_batch_never_shrinks():
    with pytest.raises(ValueError, match="only grows"):
        StreamingEncoder(encoder(), 2).grow(1)


# The fast path of live audio


class SlowPath(StreamingEncoder):
    """Counts the steps that do not take the fast path."""

    steps = 0

    def _encode(self, pieces, signal):
        self.steps += 1
        return super()._encode(pieces, signal)


def past_the_start(batch_size):
    streaming = SlowPath(encoder(), batch_size)
    streaming.step(noise(START, batch_size))
    streaming.steps = 0
    return streaming


def test_whole_frames_of_all_started_streams_take_the_fast_path():
    streaming = past_the_start(2)
    frames = streaming.step(noise(960, 2))
    assert streaming.steps == 0
    assert frames.shape == (2, 128, 3)
    assert streaming.frame_counts.tolist() == [3, 3]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda streaming: streaming.step(noise(37, 2)),
        lambda streaming: streaming.reset(some(1, of=2)),
        lambda streaming: streaming.double(),
        lambda streaming: streaming.step(noise(37, 2), some(0, of=2)),
    ],
    ids=["samples held", "one is fresh", "all are fresh", "one holds samples"],
)
def test_one_stream_with_pending_samples_or_not_started_sends_all_down_the_slow_path(spoil):
    streaming = past_the_start(2)
    spoil(streaming)
    streaming.steps = 0
    streaming.step(noise(960, 2))
    assert streaming.steps == 1


@pytest.mark.parametrize(
    "audio",
    [noise(961, 2), noise(0, 2), noise(601 * 320, 2), noise(960, 2).double()],
    ids=["odd", "none", "long", "other"],
)
def test_audio_of_another_length_or_dtype_takes_the_slow_path(audio):
    streaming = past_the_start(2)
    streaming.step(audio)
    assert streaming.steps == 1


def test_a_step_for_some_streams_takes_the_slow_path():
    streaming = past_the_start(2)
    streaming.step(noise(960, 2), some(0, of=2))
    assert streaming.steps == 1
    assert streaming.frame_counts.tolist() == [3, 0]


def test_an_ended_stream_is_refused_on_the_fast_path_too():
    streaming = past_the_start(2)
    streaming.flush(some(1, of=2))
    with pytest.raises(RuntimeError, match="ended"):
        streaming.step(noise(960, 2))


def test_after_growing_the_new_stream_starts_on_the_slow_path():
    streaming = past_the_start(1)
    streaming.grow(2)
    frames = streaming.step(noise(960, 2))
    assert streaming.steps == 1
    assert streaming.frame_counts.tolist() == [3, 0]
    assert not frames[1].any()


def test_a_packed_encoder_needs_its_plain_weights_no_more():
    audio = noise(9000)
    streaming = StreamingEncoder(encoder(), 1)
    streaming.release_weights()
    assert sum(parameter.untyped_storage().nbytes() for parameter in streaming.parameters()) < 1_000
    streaming.grow(2)
    frames = stream(torch.cat([audio, audio]), [2400, 960, 37], streaming)
    assert worst_frame_error(frames[:1], offline(audio)) <= TOLERANCE
    with pytest.raises(RuntimeError, match="released"):
        streaming.to(torch.float64)
