"""The packed LSTMs against torch's own."""

import pytest
import torch
from torch import nn

from streamer.codec.cpu import pack, selftest
from streamer.codec.cpu.lstm import DispatchLSTM, FrameLSTM, GateLSTM, HalfLSTM, Int8LSTM, OneDNNLSTM, RowLSTM
from streamer.codec.cpu.matmul import BlasProduct


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("make", [pack.packed_lstm, lambda module: GateLSTM(module, BlasProduct)], ids=["fast", "blas"])
def test_a_packed_lstm_equals_torchs_from_any_state(make, frames, batch_size):
    lstm = nn.LSTM(512, 512, 2).requires_grad_(False)
    x, hidden, cell = (torch.randn(batch_size, n, 512) for n in (frames, 2, 2))
    before = hidden.clone(), cell.clone()
    for packed, plain in zip(make(lstm)(x, hidden, cell), pack.lstm(x, hidden, cell, lstm), strict=True):
        torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((hidden, cell), before, rtol=0, atol=0)


def test_single_frames_in_a_row_carry_the_state_on():
    lstm = nn.LSTM(64, 64, 2).requires_grad_(False)
    x, hidden, cell = torch.randn(1, 9, 64), torch.randn(1, 2, 64), torch.randn(1, 2, 64)
    expected = pack.lstm(x, hidden, cell, lstm)
    packed, frames = RowLSTM(lstm), []
    for frame in x.split(1, dim=1):
        y, hidden, cell = packed(frame, hidden, cell)
        frames.append(y)
    for row, plain in zip((torch.cat(frames, dim=1), hidden, cell), expected, strict=True):
        torch.testing.assert_close(row, plain, rtol=1e-4, atol=1e-5)


def test_the_output_of_a_single_frame_is_not_overwritten_by_the_next():
    packed, state = RowLSTM(nn.LSTM(64, 64, 2).requires_grad_(False)), torch.zeros(1, 2, 64)
    y, *after = packed(torch.randn(1, 1, 64), state, state)
    copies = [part.clone() for part in (y, *after)]
    packed(torch.randn(1, 1, 64), *after)
    for part, copy in zip((y, *after), copies, strict=True):
        assert torch.equal(part, copy)


@pytest.mark.parametrize(("mkl", "single"), [(True, RowLSTM), (False, GateLSTM)])
def test_single_frames_go_to_the_row_lstm_with_mkl(mkl, single, monkeypatch):
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    lstm = nn.LSTM(8, 8, 2).requires_grad_(False)
    assert isinstance(FrameLSTM(lstm, GateLSTM(lstm, BlasProduct)).single, single)


@pytest.mark.parametrize(("batch_size", "frames"), [(1, 1), (1, 5), (3, 1), (3, 5)])
@pytest.mark.parametrize("stored_as", [torch.float16, torch.float32])
def test_one_stream_reads_float16_weights_where_they_are_exact(stored_as, batch_size, frames):
    if not (selftest.onednn_lstm(torch.float32) and selftest.half_lstm()):
        pytest.skip("oneDNN's or FBGEMM's packed LSTM does not work here")
    lstm = nn.LSTM(64, 64, 2).requires_grad_(False).to(stored_as).float()
    packed = pack.packed_lstm(lstm)
    assert isinstance(packed, DispatchLSTM)
    assert isinstance(packed.many, OneDNNLSTM)
    assert isinstance(packed.single, HalfLSTM if stored_as == torch.float16 else FrameLSTM)
    x, hidden, cell = (torch.randn(batch_size, n, 64) for n in (frames, 2, 2))
    for part, plain in zip(packed(x, hidden, cell), pack.lstm(x, hidden, cell, lstm), strict=True):
        torch.testing.assert_close(part, plain, rtol=1e-4, atol=1e-6)


def test_weights_for_many_streams_are_laid_out_when_there_are_as_many():
    if not (selftest.onednn_lstm(torch.float32) and selftest.half_lstm()):
        pytest.skip("oneDNN's or FBGEMM's packed LSTM does not work here")
    lstm = nn.LSTM(64, 64, 2).requires_grad_(False).half().float()
    packed = pack.packed_lstm(lstm)
    for batch_size, laid_out in ((pack.HALF_MAX_STREAMS, False), (pack.HALF_MAX_STREAMS + 1, True)):
        x, hidden, cell = (torch.randn(batch_size, n, 64) for n in (5, 2, 2))
        with torch.inference_mode():
            computed = packed(x, hidden, cell)
        assert ("many" in vars(packed)) == laid_out
        for part, plain in zip(computed, pack.lstm(x, hidden, cell, lstm), strict=True):
            torch.testing.assert_close(part, plain, rtol=1e-4, atol=1e-6)
    assert not any(weight.is_inference() for weights in packed.many.layers for weight in weights)


@pytest.mark.parametrize("frames", [1, 7])
def test_an_8_bit_lstm_differs_by_its_rounding(frames):
    if not selftest.int8_lstm():
        pytest.skip("torch's 8-bit LSTM does not work here")
    lstm = nn.LSTM(64, 64, 2).requires_grad_(False)
    x, hidden, cell = (torch.randn(2, n, 64) for n in (frames, 2, 2))
    packed = pack.packed_lstm(lstm, "int8")
    assert isinstance(packed, Int8LSTM)
    for rounded, exact in zip(packed(x, hidden, cell), pack.lstm(x, hidden, cell, lstm), strict=True):
        assert 1e-5 < (rounded - exact).norm() / exact.norm() < 0.03


def test_a_weight_of_zeros_can_be_quantised():
    if not selftest.int8_lstm():
        pytest.skip("torch's 8-bit LSTM does not work here")
    lstm = nn.LSTM(8, 8, 2).requires_grad_(False)
    for parameter in lstm.parameters():
        parameter.zero_()
    y, _, cell = pack.packed_lstm(lstm, "int8")(torch.randn(1, 3, 8), torch.zeros(1, 2, 8), torch.ones(1, 2, 8))
    assert torch.count_nonzero(y)
    torch.testing.assert_close(cell, torch.full((1, 2, 8), 0.125))  # half of it kept in each frame, nothing new
