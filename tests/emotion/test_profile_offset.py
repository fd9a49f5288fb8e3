"""Profile offsets: each row's own, subtracted from the mean alone."""

import torch

from streamer.constants import POOLED_DIM
from streamer.emotion.profile_offset import ProfileOffsets, subtract_offsets


def test_only_the_mean_moves_and_only_in_rows_with_an_offset() -> None:
    offsets = ProfileOffsets(3, torch.device("cpu"))
    offsets.set(1, (2.0,) * 128)
    pooled = torch.ones(2, POOLED_DIM)
    moved = offsets.apply(pooled, [2, 1])
    assert torch.equal(moved[0], pooled[0])
    assert set(moved[1, :128].tolist()) == {-1.0}
    assert torch.equal(moved[1, 128:], pooled[1, 128:])


def test_without_any_offset_the_windows_pass_untouched() -> None:
    offsets = ProfileOffsets(1, torch.device("cpu"))
    pooled = torch.ones(1, POOLED_DIM)
    offsets.set(0, (1.0,) * 128)
    offsets.set(0, None)
    assert offsets.apply(pooled, [0]) is pooled


def test_rows_keep_their_offsets_when_the_batch_grows() -> None:
    offsets = ProfileOffsets(1, torch.device("cpu"))
    offsets.set(0, (1.0,) * 128)
    offsets.grow(3)
    pooled = torch.zeros(3, POOLED_DIM)
    assert torch.equal(offsets.apply(pooled, [0, 1, 2]), subtract_offsets(pooled, torch.eye(3)[:, :1].expand(3, 128)))
