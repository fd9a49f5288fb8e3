"""Plans of fixed shape share memory, and nothing of one is left in another."""

from copy import deepcopy

import pytest
import torch

from streamer.codec import StreamingEncoder
from streamer.codec.plan import BLOCK_FRAMES, PLANS, Arena, block_shape
from tests.codec.truth import TOLERANCE, encoder, noise, offline, worst_frame_error


def test_more_shapes_in_turns_than_plans_are_kept():
    lengths = [320 * (1 + n % (PLANS + 3)) for n in range(3 * PLANS)]
    audio = noise(2240 + sum(lengths))
    streaming = StreamingEncoder(encoder())
    frames = [streaming.step(piece) for piece in audio.split([2240, *lengths], dim=-1)]
    whole = offline(audio)
    together = torch.cat(frames, dim=-1)
    assert worst_frame_error(together[..., :-6], whole[..., : together.shape[-1] - 6]) <= TOLERANCE


def test_streams_of_one_batch_that_step_apart_share_no_values():
    audio = noise(9600, batch_size=3)
    streaming = StreamingEncoder(encoder(), 3)
    frames = [streaming.step(audio[..., :3200])]
    for begin in range(3200, 9600, 1600):
        piece = audio[..., begin : begin + 1600]
        one = streaming.step(piece, torch.tensor([False, True, False]))
        others = streaming.step(piece, torch.tensor([True, False, True]))
        frames.append(one + others)
    together, whole = torch.cat(frames, dim=-1), offline(audio)
    assert worst_frame_error(together[..., :-6], whole[..., : together.shape[-1] - 6]) <= TOLERANCE


@pytest.mark.parametrize(("batch_size", "frames"), [(1, 18), (16, 18), (5, 18), (3, 1), (60, 1), (1, 75), (2, 100)])
def test_blocks_take_all_streams_and_frames_and_are_no_larger_than_they_may(batch_size, frames):
    streams, length = block_shape(batch_size, frames)
    assert 1 <= streams * length <= BLOCK_FRAMES
    assert streams <= batch_size
    assert length <= frames
    assert streams == 1 or length == frames


@pytest.mark.parametrize("stored_as", [torch.float16, torch.float32])
@pytest.mark.parametrize(("batch_size", "frames"), [(5, 18), (1, 100)])
def test_steps_of_many_blocks_equal_the_offline_encoder(batch_size, frames, stored_as):
    own = deepcopy(encoder()).to(stored_as).float()
    audio = noise(2240 + 3 * 320 * frames, batch_size)
    streaming = StreamingEncoder(own, batch_size)
    pieces = audio.split([2240, *[320 * frames] * 3], dim=-1)
    together = torch.cat([streaming.step(piece) for piece in pieces], dim=-1)
    with torch.no_grad():
        whole = own(audio)  # plain torch: never packed
    assert worst_frame_error(together[..., :-6], whole[..., : together.shape[-1] - 6]) <= TOLERANCE


def test_a_larger_buffer_leaves_what_was_taken_before():
    arena = Arena()
    small = arena.take("one", (2, 3), torch.float32).fill_(1)
    large = arena.take("one", (20, 30), torch.bfloat16).fill_(2)
    assert arena.take("other", (2, 3), torch.float32).data_ptr() not in (small.data_ptr(), large.data_ptr())
    assert torch.equal(small, torch.ones(2, 3))
    assert arena.take("one", (4,), torch.float32).data_ptr() == large.data_ptr()


def test_no_plan_keeps_memory_that_a_larger_buffer_replaced(monkeypatch):
    ever = set()

    class Watched(Arena):
        def take(self, role, shape, dtype):
            taken = super().take(role, shape, dtype)
            ever.add(taken.untyped_storage().data_ptr())
            return taken

    monkeypatch.setattr("streamer.codec.plan.Arena", Watched)
    streaming = StreamingEncoder(encoder(), 3)
    streaming.step(noise(2240, batch_size=3))
    plans = streaming.encoder._plans
    for frames in (9, 18, 40, 18):
        streaming.step(noise(320 * frames, batch_size=3))
        now = {buffer.untyped_storage().data_ptr() for buffer in plans._arena._buffers.values()}
        used = {address for plan in plans._plans.values() for address in _written(plan)}
        assert used & now
        assert used & ever <= now


def _written(plan):
    """The addresses of the memory that the operations of `plan` write into."""
    for _, operation in plan._operations:
        for tensor in (
            getattr(getattr(operation, "conv", operation), "context", None),
            getattr(operation, "out", None),
        ):
            if tensor is not None:
                yield tensor.untyped_storage().data_ptr()


def test_an_unpacked_encoder_computes_with_its_parameters_again():
    unpacked = StreamingEncoder(encoder()).encoder
    unpacked.unpack()
    audio = noise(3200)
    with torch.no_grad():
        for parameter in unpacked.parameters():
            parameter.zero_()
        assert torch.count_nonzero(unpacked(audio)) == 0
