"""Attention pooling: the sliding window equals pooling the same frames offline."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.constants import POOLED_DIM
from streamer.emotion import AttentionPooling, SlidingWindow
from streamer.emotion.pooling import LAGS, pool

torch.manual_seed(0)
POOLING = AttentionPooling().eval()


def frames(count: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 128, count, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def offline(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return POOLING(x)


def test_mean_and_deviation_are_those_of_the_weighted_frames():
    x = frames(50)
    pooled, weights = offline(x)
    w = weights[0].double()
    mean = (w * x[0].double()).sum(1)
    deviation = ((w * (x[0].double() - mean[:, None]) ** 2).sum(1) + 1e-5).sqrt()
    torch.testing.assert_close(pooled[0, :256].double(), torch.cat([mean, deviation]), atol=1e-5, rtol=1e-5)
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("place", "lag"), list(enumerate(LAGS)))
def test_movement_is_the_weighted_root_mean_square_of_differences(place, lag):
    x = frames(50)
    with torch.no_grad():
        w = POOLING.scores(x)[0, lag:].double().softmax(0)  # only frames that have one `lag` before them
    moved = x[0, :, lag:].double() - x[0, :, :-lag].double()
    expected = ((w * moved.square()).sum(1) + 1e-5).sqrt()
    columns = slice((2 + place) * 128, (3 + place) * 128)
    torch.testing.assert_close(offline(x)[0][0, columns].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 18, 19])
def test_what_is_too_short_to_move_has_not_moved(count):
    pooled, _ = offline(frames(count))
    assert pooled.shape == (1, POOLED_DIM)
    for place, lag in enumerate(LAGS):
        still = pooled[0, (2 + place) * 128 : (3 + place) * 128] ** 2 < 2e-5
        assert bool(still.all()) == (count <= lag)


def test_a_constant_added_to_every_frame_changes_the_mean_alone():
    x = frames(60)
    real = torch.ones(1, 60, dtype=torch.bool)
    with torch.no_grad():
        scores = POOLING.scores(x)
        before, after = (pool(y.transpose(1, 2), scores, real)[0] for y in (x, x + 3))
    torch.testing.assert_close(after[:, :128], before[:, :128] + 3, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after[:, 128:], before[:, 128:], atol=1e-4, rtol=1e-4)


def test_frames_outside_the_mask_do_not_matter():
    x = frames(40, batch=2)
    mask = torch.zeros(2, 40, dtype=torch.bool)
    mask[0, :25] = True
    mask[1, 5:] = True
    spoilt = torch.where(mask[:, None], x, torch.full_like(x, float("nan")))
    with torch.no_grad():
        pooled, weights = POOLING(spoilt, mask)
    torch.testing.assert_close(pooled[:1], offline(x[:1, :, :25])[0])
    torch.testing.assert_close(pooled[1:], offline(x[1:, :, 5:])[0])
    assert not weights[~mask].any()


def test_a_row_without_frames_pools_to_zeros():
    with torch.no_grad():
        pooled, weights = POOLING(frames(10), torch.zeros(1, 10, dtype=torch.bool))
    assert not pooled.any()
    assert not weights.any()


def test_a_single_frame_pools_to_itself_and_can_be_trained_on():
    x = frames(1).requires_grad_()
    pooled, weights = POOLING(x)
    torch.testing.assert_close(pooled[0, :128], x[0, :, 0])
    assert weights.item() == 1
    pooled.sum().backward()
    assert torch.isfinite(x.grad).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 30))
def test_any_pushes_leave_the_newest_frames_pooled_as_offline(pushes, size):
    x = frames(sum(pushes))
    window = SlidingWindow(POOLING, 1, size)
    for piece in x.split(pushes, dim=2):
        window.push(piece)
    pooled, weights = window.pool()
    count = min(size, sum(pushes))
    assert window.filled.tolist() == [count]
    assert weights.shape == (1, size)
    if count == 0:
        assert not pooled.any()
        return
    expected, expected_weights = offline(x[:, :, -count:])
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights[:, size - count :], expected_weights, atol=1e-6, rtol=1e-5)
    assert not weights[:, : size - count].any()


def test_every_stream_has_its_own_count():
    x = frames(30, batch=3)
    window = SlidingWindow(POOLING, 3, 20)
    window.push(x[:, :, :12], torch.tensor([12, 0, 5]))
    window.push(x[:, :, 12:], torch.tensor([18, 7, 0]))
    pooled, _ = window.pool()
    assert window.filled.tolist() == [20, 7, 5]
    torch.testing.assert_close(pooled[:1], offline(x[:1, :, 10:30])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled[1:2], offline(x[1:2, :, 12:19])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled[2:], offline(x[2:, :, :5])[0], atol=1e-5, rtol=1e-5)


def test_pooling_at_every_hop_of_a_longer_step_equals_pooling_live():
    x = frames(90)
    live, late = SlidingWindow(POOLING, 1, 50), SlidingWindow(POOLING, 1, 50)
    alive = []
    for hop in x.split(18, dim=2):
        live.push(hop)
        alive.append(live.pool()[0])
    late.push(x[:, :, :54])
    torch.testing.assert_close(late.pool()[0], alive[2])
    for hop, expected in zip(x[:, :, 54:].split(18, dim=2), alive[3:], strict=True):
        late.push(hop)
        torch.testing.assert_close(late.pool()[0], expected)


def test_frames_are_taken_from_where_each_row_begins():
    x = frames(60, batch=3)
    window = SlidingWindow(POOLING, 3, 20)
    window.push(x, torch.tensor([18, 40, 0]), torch.tensor([0, 10, 60]))
    pooled, _ = window.pool()
    torch.testing.assert_close(pooled[:1], offline(x[:1, :, :18])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled[1:2], offline(x[1:2, :, 30:50])[0], atol=1e-5, rtol=1e-5)
    assert not pooled[2].any()


@pytest.mark.parametrize("streams", [[0], [2, 0], [0, 1, 2]])
def test_some_streams_are_pooled_as_all_are(streams):
    x = frames(30, batch=3)
    window = SlidingWindow(POOLING, 3, 20)
    window.push(x, torch.tensor([30, 7, 19]))
    for some, everything in zip(window.pool_only(streams), window.pool(), strict=True):
        torch.testing.assert_close(some, everything[streams])


def test_growing_keeps_the_windows_there_are_and_adds_empty_ones():
    x = frames(30, batch=3)
    window, whole = SlidingWindow(POOLING, 1, 20), SlidingWindow(POOLING, 1, 20)
    window.push(x[:1, :, :25])
    window.grow(3)
    assert window.filled.tolist() == [20, 0, 0]
    window.push(x[:, :, 25:], torch.tensor([5, 0, 4]))
    whole.push(x[:1])
    torch.testing.assert_close(window.pool()[0][:1], whole.pool()[0])
    torch.testing.assert_close(window.pool()[0][2:], offline(x[2:, :, 25:29])[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="only grows"):
        window.grow(2)


def test_streams_outside_the_mask_give_zeros():
    window = SlidingWindow(POOLING, 2, 10)
    window.push(frames(10, batch=2))
    pooled, weights = window.pool(torch.tensor([False, True]))
    assert not pooled[0].any()
    assert not weights[0].any()
    torch.testing.assert_close(pooled[1:], offline(frames(10, batch=2)[1:])[0], atol=1e-5, rtol=1e-5)


def test_reset_empties_one_stream_and_leaves_the_others():
    x = frames(10, batch=2)
    window = SlidingWindow(POOLING, 2, 10)
    window.push(x)
    before = window.pool()[0]
    window.reset(torch.tensor([True, False]))
    assert window.filled.tolist() == [0, 10]
    torch.testing.assert_close(window.pool()[0][1], before[1])
    window.push(x[:, :, :4], torch.tensor([4, 0]))
    torch.testing.assert_close(window.pool()[0][:1], offline(x[:1, :, :4])[0], atol=1e-5, rtol=1e-5)
    window.reset()
    assert window.filled.tolist() == [0, 0]


@torch.inference_mode()
def test_frames_of_the_streaming_encoder_are_taken_as_they_come():
    window = SlidingWindow(POOLING, 1, 10)
    window.push(torch.randn(1, 128, 4))
    assert torch.isfinite(window.pool()[0]).all()


@pytest.mark.parametrize("shape", [(1, 4, 128), (2, 128, 4), (128, 4)])
def test_wrong_frames_say_what_they_should_have_been(shape):
    with pytest.raises(ValueError, match=r"must be \[1, 128, F\]; got"):
        SlidingWindow(POOLING).push(torch.zeros(shape))


@pytest.mark.parametrize("sizes", [(0, 10), (1, 0)])
def test_an_impossible_window_is_refused(sizes):
    with pytest.raises(ValueError, match="needs streams and frames"):
        SlidingWindow(POOLING, *sizes)
