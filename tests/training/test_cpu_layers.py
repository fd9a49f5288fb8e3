"""Training on the CPU by matrix products and in threads: the same frames and gradients as torch's own layers."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from streamer.codec import Encoder
from streamer.codec.layers import ResidualLSTM
from streamer.training.cpu_layers import upper_layers_in_threads
from streamer.training.encoder_parts import DEEP_LAYER, LSTM_LAYER, STEM_DIMS, at_rest, run_lstm
from streamer.training.lstm import gates_for_training, lstm_layer


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder().eval()


def in_threads(encoder: Encoder, features: Tensor, begin: int, lengths: Tensor | None = None) -> Tensor:
    frames, _ = upper_layers_in_threads(encoder, features, begin, at_rest(encoder, len(features)), lengths)
    return frames


def by_torch(encoder: Encoder, features: Tensor, begin: int) -> Tensor:
    """Run the encoder's own layers on `[B, F, D]`."""
    layers = encoder.model[begin:]
    x = features if begin == LSTM_LAYER else features.reshape(len(features), -1, STEM_DIMS[begin] // 8)
    return torch.as_tensor(layers(x)).transpose(1, 2)


@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["at rest", "in speech"])
def test_the_lstm_its_end_and_its_gradients_are_torch_s(scale: float) -> None:
    torch.manual_seed(0)
    module, x = nn.LSTM(24, 24), torch.randn(30, 3, 24, requires_grad=True)
    of_input, of_hidden, bias, other_bias = module.parameters()
    parameters = [x, of_input, of_hidden, bias, other_bias]
    start = torch.rand(2, 3, 24) * scale
    wanted, ends = module(x, (start[:1], start[1:]))
    gates = [gates_for_training(one) for one in (of_input, of_hidden, bias + other_bias)]
    outputs, end = lstm_layer(x, gates[0], gates[1], gates[2], start, torch.full((3,), 30))
    assert torch.allclose(outputs, wanted, atol=1e-6)
    assert torch.allclose(end, torch.cat(ends), atol=1e-6)
    direction = torch.randn_like(wanted)
    kept = direction.clone()
    ours, theirs = (torch.autograd.grad(one, parameters, direction) for one in (outputs, wanted))
    assert torch.equal(direction, kept)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("begin", [DEEP_LAYER, LSTM_LAYER])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("threads")
def test_frames_and_gradients_are_those_of_the_layers(encoder: Encoder, begin: int, count: int) -> None:
    torch.set_num_threads(count)
    torch.manual_seed(1)
    features = torch.randn(17, 12, STEM_DIMS[begin], requires_grad=True)
    direction = torch.randn(17, 128, 12)
    parameters = [features, *encoder.model[begin:].parameters()]
    wanted, frames = by_torch(encoder, features, begin), in_threads(encoder, features, begin)
    assert torch.allclose(frames, wanted, atol=1e-5)
    ours, theirs = (torch.autograd.grad(one, parameters, direction) for one in (frames, wanted))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("threads")
def test_what_lies_beyond_a_row_s_end_changes_nothing(encoder: Encoder, count: int) -> None:
    torch.set_num_threads(count)
    torch.manual_seed(1)
    features, lengths = torch.randn(17, 20, STEM_DIMS[DEEP_LAYER]), torch.tensor([20, 8, 11, 7, *[9] * 13])
    real = (torch.arange(20) < lengths[:, None])[:, None]  # [B, 1, F]
    whole = in_threads(encoder, features, DEEP_LAYER)
    changed = torch.where(real.transpose(1, 2), features, 7.0)
    frames = in_threads(encoder, changed, DEEP_LAYER, lengths)
    assert torch.allclose(frames * real, whole * real, atol=1e-5)


@pytest.mark.usefixtures("threads")
def test_dropout_is_drawn_alike_by_one_thread_and_by_two() -> None:
    torch.manual_seed(0)
    encoder = Encoder().train()
    lstm = next(module for module in encoder.modules() if isinstance(module, nn.LSTM))
    features, drawn = torch.randn(16, 9, STEM_DIMS[LSTM_LAYER]), []
    plain = in_threads(encoder, features, LSTM_LAYER)
    lstm.dropout = 0.5
    for count in (1, 2):
        torch.set_num_threads(count)
        torch.manual_seed(3)
        drawn.append(in_threads(encoder, features, LSTM_LAYER))
    assert torch.allclose(drawn[0], drawn[1], atol=1e-5)
    assert not torch.allclose(drawn[0], plain, atol=1e-3)


def test_bfloat16_is_near_float32(encoder: Encoder) -> None:
    torch.manual_seed(1)
    features = torch.randn(4, 30, STEM_DIMS[DEEP_LAYER])
    with torch.no_grad():
        exact = by_torch(encoder, features, DEEP_LAYER)
        near = in_threads(encoder, features.bfloat16(), DEEP_LAYER)
    assert near.dtype == torch.float32
    assert float((near - exact).norm() / exact.norm()) < 0.02


@pytest.mark.parametrize("by_threads", [True, False])
def test_two_windows_one_after_the_other_are_one(encoder: Encoder, by_threads: bool) -> None:
    torch.manual_seed(1)
    features, lengths = torch.randn(17, 30, STEM_DIMS[LSTM_LAYER]), torch.tensor([12, *[20] * 16])
    run = upper_layers_in_threads if by_threads else _by_packing
    whole, end = run(encoder, features, LSTM_LAYER, at_rest(encoder, 17), lengths + 10)
    first, between = run(encoder, features[:, :10], LSTM_LAYER, at_rest(encoder, 17), torch.full((17,), 10))
    second, later = run(encoder, features[:, 10:], LSTM_LAYER, between, lengths)
    context = 6  # frames of the last convolution, which mirrors the edge instead
    assert torch.allclose(first, whole[:, :, :10], atol=1e-5)
    assert torch.allclose(second[1:, :, context:], whole[1:, :, 10 + context :], atol=1e-5)
    assert torch.allclose(later, end, atol=1e-5)


def _by_packing(encoder: Encoder, features: Tensor, _: int, start: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Run what `upper_layers_from` runs on other devices."""
    lstm, activate, last = list(encoder.model)[LSTM_LAYER:]
    assert isinstance(lstm, ResidualLSTM)
    y, end = run_lstm(lstm.lstm, features, start, lengths)
    return last(activate(features + y)).transpose(1, 2), end
