"""Frames are pooled to vectors, offline and incrementally."""

import pytest
import torch

import streamer
from streamer import global_embeddings, multi_scale_embeddings
from streamer.analysis.aggregate import RunningPool
from streamer.analysis.settings import METHODS
from tests.analysis import made

OFFLINE = ("mean", "max", "attention", "learned")


def frames(batch=3, count=40, seed=0):
    """`[B, 128, F]` whose loudness wanders, so that no two frames weigh the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 128, count, generator=generator) * (1 + torch.arange(count) / 10) + 0.3


def test_mean_and_max_are_those_over_frames():
    embeddings = frames()
    torch.testing.assert_close(global_embeddings(embeddings, "mean"), embeddings.mean(2))
    torch.testing.assert_close(global_embeddings(embeddings), embeddings.mean(2))
    torch.testing.assert_close(global_embeddings(embeddings, "max"), embeddings.max(2).values)


def test_attention_weighs_each_frame_by_the_softmax_of_its_mean():
    embeddings = frames()
    weights = torch.softmax(embeddings.mean(1), dim=1)
    expected = torch.einsum("bcf,bf->bc", embeddings, weights)
    torch.testing.assert_close(global_embeddings(embeddings, "attention"), expected)


def test_learned_is_mean_and_deviation_by_the_checkpoint_s_attention():
    embeddings = frames()
    pooling = made.model().pooling
    pooled = global_embeddings(embeddings, "learned", pooling=pooling)
    torch.testing.assert_close(pooled, pooling(embeddings)[0][:, :256])  # without the movement
    bundled = streamer.EmotionDetectionModel.from_checkpoint("bundled").pooling
    torch.testing.assert_close(global_embeddings(embeddings, "learned"), bundled(embeddings)[0][:, :256])


def test_multi_scale_is_mean_max_and_deviation():
    embeddings = frames()
    mean, largest, deviation = multi_scale_embeddings(embeddings).split(128, dim=1)
    torch.testing.assert_close(mean, embeddings.mean(2))
    torch.testing.assert_close(largest, embeddings.amax(2))
    torch.testing.assert_close(deviation, embeddings.std(2, correction=0))
    assert (multi_scale_embeddings(embeddings[..., :1])[:, 256:] == 0).all()


def pooled(embeddings, method, counts=None):
    if method == "multi":
        return multi_scale_embeddings(embeddings, counts)
    return global_embeddings(embeddings, method, counts, made.model().pooling)


@pytest.mark.parametrize("method", METHODS)
def test_padding_is_ignored(method):
    embeddings = frames(batch=2, count=30)
    embeddings[1, :, 11:] = float("nan")
    together = pooled(embeddings, method, torch.tensor([30, 11]))
    torch.testing.assert_close(together[:1], pooled(embeddings[:1], method))
    torch.testing.assert_close(together[1:], pooled(embeddings[1:, :, :11], method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pieces", [[40], [1] * 40, [0, 7, 33], [39, 1]])
def test_pooling_piece_by_piece_equals_pooling_the_whole(method, pieces):
    (embeddings,) = frames(batch=1) * 5  # far apart scores: one frame may outweigh all before it
    pool = RunningPool(method, made.model().pooling)
    for piece in embeddings.split(pieces, dim=1):
        pool.update(piece)
    torch.testing.assert_close(pool.result(), pooled(embeddings[None], method)[0], rtol=1e-5, atol=1e-5)


def test_gradients_flow_back_through_every_method():
    for method in OFFLINE:
        embeddings = frames().requires_grad_()
        pooled(embeddings, method).sum().backward()
        assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(128, 10), (1, 10, 128), (1, 128, 0)])
def test_a_wrong_shape_is_refused_with_what_it_should_have_been(shape):
    for function in (global_embeddings, multi_scale_embeddings):
        with pytest.raises(ValueError, match=r"\[B, 128, F\]"):
            function(torch.zeros(shape))


def test_unknown_methods_and_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="mean, max, attention or learned"):
        global_embeddings(frames(), "median")
    with pytest.raises(ValueError, match="from 1 to 40"):
        global_embeddings(frames(), "mean", torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="no frame"):
        RunningPool("mean").result()
    with pytest.raises(ValueError, match="one of"):
        RunningPool("median")
    with pytest.raises(ValueError, match="learned"):
        RunningPool("learned")
