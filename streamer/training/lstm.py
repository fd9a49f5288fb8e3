"""An LSTM layer for training on the CPU, by matrix products.

What is known for all frames is one large product: the input's share of the gates, and the gradients of input and
weights. Only the recurrent products go frame by frame. oneDNN's LSTM, which nn.LSTM runs on the CPU, takes three
quarters more time forwards and backwards.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def gates_for_training(parameter: Tensor) -> Tensor:
    """Reorder torch's gates i, f, g, o along dimension 0 to i, f, o, g, and double the last: tanh x = 2 sigmoid 2x - 1.

    So one sigmoid, which is vectorised better than tanh, computes all gates. Doubling is exact in every float type.
    """
    i, f, g, o = parameter.chunk(4)
    return torch.cat((i, f, o, 2 * g))


def lstm_layer(
    x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, start: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Run one layer, differentiably but for its states.

    Products are in the input's dtype; gates and cells are float32.

    Args:
        x: `[T, B, C]`, contiguous, float32 or bfloat16.
        weight_ih: `[4C, C]` in the order of `gates_for_training`, as the others.
        weight_hh: `[4C, C]`.
        bias: `[4C]`, the sum of both.
        start: `[2, B, C]` float32, hidden values and cells before the first frame.
        lengths: `[B]` frames of each row that count.

    Returns:
        `[T, B, C]` in the input's dtype, and the state `[2, B, C]` after each row's last frame that counts.
    """
    outputs = _Layer.apply(x, weight_ih, weight_hh, bias, start, lengths)  # type: ignore[no-untyped-call]
    return cast(tuple[Tensor, Tensor], outputs)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, start: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        frames, rows, size = x.shape
        sums = F.linear(x.view(-1, size), weight_ih, bias).view(frames, rows, 4 * size)
        gates = torch.empty(frames, rows, 4 * size)
        cells, tanhs = torch.zeros(frames + 1, rows, size), torch.empty(frames, rows, size)
        hidden = x.new_zeros(frames + 1, rows, size)
        hidden[0], cells[0] = start
        recurrent = weight_hh.t()
        for frame, (total, gate, tanh) in enumerate(zip(sums.unbind(), gates.unbind(), tanhs.unbind(), strict=True)):
            gate.copy_(total.addmm_(hidden[frame], recurrent)).sigmoid_()
            i, f, o, half_g = gate.chunk(4, dim=1)  # g = 2 half_g - 1
            cell = torch.mul(cells[frame], f, out=cells[frame + 1]).sub_(i).addcmul_(i, half_g, value=2)
            torch.mul(cell, 2, out=tanh).sigmoid_().mul_(2).sub_(1)
            hidden[frame + 1].copy_(tanh * o)
        ctx.save_for_backward(x, weight_ih, weight_hh, gates, cells, tanhs, hidden)
        columns = torch.arange(rows)
        end = torch.stack((hidden[lengths, columns].float(), cells[lengths, columns]))
        ctx.mark_non_differentiable(end)
        return hidden[1:], end

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_ih, weight_hh, gates, cells, tanhs, hidden = ctx.saved_tensors
        frames, rows, size = x.shape
        i, f, o, half_g = gates.chunk(4, dim=2)
        by_cell = torch.empty(frames, rows, 4, size)  # derivatives of the cell by the sums i, f, o, g; o by the output
        g = half_g * 2 - 1
        torch.mul(i * g, 1 - i, out=by_cell[:, :, 0])
        torch.mul(cells[:-1] * f, 1 - f, out=by_cell[:, :, 1])
        torch.mul(tanhs * o, 1 - o, out=by_cell[:, :, 2])
        torch.mul(i, 2 * half_g * (1 - half_g), out=by_cell[:, :, 3])  # of the doubled sum
        cell_by_hidden = o * (1 - tanhs * tanhs)
        of_sums = torch.empty(frames, rows, 4, size, dtype=x.dtype)
        of_cell, of_hidden = torch.zeros(rows, 1, size), gradient.to(torch.float32, copy=True)
        for frame in range(frames - 1, -1, -1):
            of_output = of_hidden[frame][:, None]
            of_cell.addcmul_(of_output, cell_by_hidden[frame][:, None])
            scaled = of_cell * by_cell[frame]
            torch.mul(of_output[:, 0], by_cell[frame, :, 2], out=scaled[:, 2])
            of_sums[frame].copy_(scaled)
            if frame:
                of_hidden[frame - 1] += of_sums[frame].view(rows, 4 * size) @ weight_hh
                of_cell.mul_(f[frame][:, None])
        flat = of_sums.view(-1, 4 * size)
        of_input = (flat @ weight_ih).view_as(x) if ctx.needs_input_grad[0] else None
        of_bias = flat.sum(dim=0, dtype=torch.float32).to(x.dtype)
        of_hidden_weight = flat.t() @ hidden[:-1].view(-1, size)
        return of_input, flat.t() @ x.reshape(-1, size), of_hidden_weight, of_bias, None, None
