"""A captured step equals the plain one for any mask, and never waits for the device."""

import logging
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.codec import StreamingEncoder
from tests.codec.fake_capture import FakeCapture, NoCapture
from tests.codec.truth import TOLERANCE, encoder, noise, worst_frame_error

PREPARED = 960  # samples: 40 ms
STREAMS = 3
LENGTHS = [0, 1, 320, 777, PREPARED, PREPARED, PREPARED + 1, 2 * PREPARED, 3 * PREPARED + 320]


@cache
def kept(captured):
    return captured_pair(STREAMS)[0] if captured else StreamingEncoder(encoder(), STREAMS)


def used(captured):
    """Return an encoder shared between tests, reset: making a new one for every example is slow."""
    streaming = kept(captured)
    streaming.reset()
    return streaming


def captured_pair(batch_size=1):
    """Return an encoder with plain torch kernels, whose operations a tape records, and its capture."""
    capture = FakeCapture()
    streaming = StreamingEncoder(encoder(), batch_size, capture=capture)
    streaming.encoder.unpack()
    streaming.prepare(PREPARED)
    return streaming, capture


def run(streaming, steps):
    """The frames of steps `(audio, mask)`, and of the flush at the end."""
    return [streaming.step(audio, mask) for audio, mask in steps] + [streaming.flush()]


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        real = b.norm(dim=1) > 0
        assert torch.equal(a.norm(dim=1) > 0, real)
        if real.any():
            error = (a - b).norm(dim=1)[real] / b.norm(dim=1)[real]
            assert error.max() <= TOLERANCE


SCRIPTS = st.lists(
    st.tuples(st.sampled_from(LENGTHS), st.lists(st.booleans(), min_size=STREAMS, max_size=STREAMS)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=4, deadline=None)
@given(script=SCRIPTS, begun=st.booleans())
def test_any_steps_and_masks_equal_those_without_a_capture(script, begun):
    check_script(script, begun)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(script=SCRIPTS, begun=st.booleans())
def test_many_steps_and_masks_equal_those_without_a_capture(script, begun):
    check_script(script, begun)


def check_script(script, begun):
    steps = [(noise(2240, STREAMS, seed=9), None)] if begun else []
    steps += [(noise(length, STREAMS, seed=i), torch.tensor(mask)) for i, (length, mask) in enumerate(script)]
    assert_same(run(used(captured=True), steps), run(used(captured=False), steps))


@pytest.mark.parametrize(
    ("samples", "launches"), [(PREPARED, 1), (3 * PREPARED, 3), (PREPARED + 640, 1), (PREPARED - 1, 0), (0, 0)]
)
def test_each_whole_prepared_step_is_one_launch(samples, launches):
    streaming, capture = captured_pair()
    streaming.step(noise(2240))
    assert capture.launches == 0
    streaming.step(noise(samples))
    assert capture.launches == launches


def test_a_stream_left_out_of_a_launch_is_untouched_even_by_nan():
    streaming, capture = captured_pair(2)
    start, audio, later = noise(2240, 2), noise(PREPARED, 2, 1), noise(PREPARED, 2, 2)
    streaming.step(start)
    spoilt = audio.clone()
    spoilt[0] = float("nan")
    frames = streaming.step(spoilt, torch.tensor([False, True]))
    assert not frames[0].any()
    last = streaming.step(later)
    assert capture.launches == 2
    alone = StreamingEncoder(encoder())
    alone.step(start[:1])
    assert worst_frame_error(last[:1], alone.step(later[:1])) <= TOLERANCE


def test_preparing_in_mid_stream_changes_no_stream():
    streaming, plain = StreamingEncoder(encoder(), capture=FakeCapture()), StreamingEncoder(encoder())
    streaming.encoder.unpack()
    audio = noise(9999)
    frames = [streaming.step(audio[..., :3000])]
    streaming.prepare(PREPARED)
    frames += [streaming.step(audio[..., 3000:]), streaming.flush()]
    expected = torch.cat((plain.step(audio), plain.flush()), dim=-1)
    assert worst_frame_error(torch.cat(frames, dim=-1), expected) <= TOLERANCE


def test_frames_of_one_launch_stay_as_they_are_after_the_next():
    streaming, capture = captured_pair()
    streaming.step(noise(2240))
    first = streaming.step(noise(PREPARED, seed=1))
    copy = first.clone()
    streaming.step(noise(PREPARED, seed=2))
    assert capture.launches == 2
    assert torch.equal(first, copy)


def test_after_growing_the_step_is_captured_anew_over_the_new_memory():
    streaming, capture = captured_pair(1)
    audio = noise(2240 + 2 * PREPARED, 3)
    first = [streaming.step(audio[:1, :, :2240]), streaming.step(audio[:1, :, 2240 : 2240 + PREPARED])]
    streaming.grow(3)
    rest = streaming.step(audio[..., 2240 + PREPARED :], torch.tensor([True, False, False]))
    assert (capture.captures, capture.launches) == (2, 2)
    plain = StreamingEncoder(encoder()).step(audio[:1])
    assert worst_frame_error(torch.cat((*first, rest[:1]), dim=-1), plain) <= TOLERANCE


def test_a_step_that_cannot_be_captured_is_logged_once_and_runs_as_before(caplog):
    capture = NoCapture()
    streaming, audio = StreamingEncoder(encoder(), capture=capture), noise(2240 + PREPARED)
    frames = [streaming.step(audio[..., :2240])]
    with caplog.at_level(logging.WARNING):
        streaming.prepare(PREPARED)
        streaming.grow(2)
        streaming.prepare(PREPARED)
    frames.append(streaming.step(audio[..., 2240:].expand(2, 1, -1), torch.tensor([True, False]))[:1])
    assert capture.tries == 1
    assert [r.message.split(":")[0] for r in caplog.records] == [
        "A step cannot be captured as one launch here and runs operation by operation"
    ]
    assert worst_frame_error(torch.cat(frames, dim=-1), StreamingEncoder(encoder()).step(audio)) <= TOLERANCE


def test_moving_to_another_type_forgets_the_capture_with_the_memory():
    streaming, capture = captured_pair()
    streaming.to(torch.float64)
    streaming.step(noise(2240))
    streaming.step(noise(PREPARED))
    assert capture.launches == 0


def test_without_a_capture_prepare_changes_nothing():
    streaming = StreamingEncoder(encoder())
    streaming.prepare(PREPARED)
    assert streaming.step(noise(2240 + PREPARED)).shape == (1, 128, 10)


@pytest.mark.parametrize("samples", [0, -320, 319, 321])
def test_a_prepared_step_is_a_whole_number_of_frames(samples):
    with pytest.raises(ValueError, match="whole number of frames of 320"):
        StreamingEncoder(encoder()).prepare(samples)


def repeat(work):
    work()
    return work


@pytest.mark.parametrize("capture", [None, repeat])
def test_no_step_reads_a_value_back_from_the_device(capture):
    """Tensors on `meta` have no values: reading one (item, nonzero, a boolean index) is an error."""
    streaming = StreamingEncoder(encoder(), 2, capture=capture).to("meta")
    streaming.prepare(PREPARED)
    shapes = []
    for length, mask in [(2240, None), (PREPARED, None), (PREPARED, [True, False]), (777, [False, True])]:
        frames = streaming.step(noise(length, 2), None if mask is None else torch.tensor(mask))
        assert frames.device.type == "meta"
        shapes.append((frames.shape[-1], streaming.frame_counts.tolist()))
    streaming.reset(torch.tensor([True, False]))
    streaming.flush()
    assert shapes == [(7, [7, 7]), (3, [3, 3]), (3, [3, 0]), (2, [0, 2])]
