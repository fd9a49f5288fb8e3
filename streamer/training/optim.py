"""What moves a student's weights."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from streamer.training.recipe import Recipe
from streamer.training.student import Student

_A, _B, _C = 3.4445, -4.7750, 2.0315  # of the quintic: steepest at zero that stays bounded (Jordan et al. 2024)
_ITERATIONS = 5
_LEAST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """For matrices and convolutions; the weights decay apart from the gradient.

    A convolution's kernel `[O, I, K]` is a matrix `[O, I x K]`: a row for each channel that it gives.

    The step is scaled to AdamW's, by 0.2 x the root of the longer side (Liu et al. 2025, arXiv 2502.16982), so that both
    can take one rate.

    Args:
        params: groups of parameters of two dimensions or more; a group's `lr` is its rate.
        lr: the rate of groups without their own.
        weight_decay: share that a weight loses in a step, times the rate.
        momentum: share of the mean of gradients so far (Nesterov's).
        dtype: of the arithmetic that turns a step: bfloat16 where it is fast.

    Raises:
        ValueError: a parameter has fewer dimensions.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() < 2:
                    raise ValueError(f"Muon moves matrices; got a parameter of shape {list(parameter.shape)}.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient. `closure` is not called: gradients are there already."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, momentum = self.state[parameter], group["momentum"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        turned = orthogonalized(gradient.lerp(mean, momentum).flatten(1).to(self._dtype)).to(parameter)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(turned.reshape(parameter.shape), alpha=-0.2 * max(turned.shape) ** 0.5 * group["lr"])


def orthogonalized(matrix: Tensor) -> Tensor:
    """`[R, C]` with its singular vectors, and singular values all near 1 (about 0.7 to 1.2): Newton-Schulz, quintic."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    x: Tensor = wide / wide.norm().clamp(min=_LEAST_NORM)
    for _ in range(_ITERATIONS):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide is matrix else x.t()


def optimizers_for(student: Student, recipe: Recipe, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the encoder's matrices and kernels, AdamW (Loshchilov & Hutter 2019) for the rest.

    Groups tell their `peak` rate. Norms and biases do not decay. `dtype` is that of the encoder's arithmetic.
    """
    matrices, vectors = _by_shape(student.encoder_parameters())
    decaying, others = _by_shape(student.other_parameters())
    groups = [
        {"params": chosen, "lr": rate, "peak": rate, "weight_decay": decay}
        for chosen, rate, decay in (
            (vectors, recipe.encoder_rate, 0.0),
            (decaying, recipe.learning_rate, recipe.weight_decay),
            (others, recipe.learning_rate, 0.0),
        )
        if chosen
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups)]
    if matrices:
        group = {"params": matrices, "lr": recipe.encoder_rate, "peak": recipe.encoder_rate}
        optimizers.append(Muon([group], weight_decay=recipe.weight_decay, dtype=dtype))
    return optimizers


def cosine_with_warmup(step: int, warm_up_steps: int, progress: float, last: float) -> float:
    """Share of the peak rate: a linear start, then half a cosine down to `last` (Loshchilov & Hutter 2017).

    Args:
        step: how many were done.
        warm_up_steps: length of the start.
        progress: how far training is, 1 at its end.
        last: share that is left then.
    """
    fall = last + (1 - last) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return min(1.0, (step + 1) / warm_up_steps) * fall


def _by_shape(parameters: Iterable[nn.Parameter]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices and kernels, then vectors."""
    listed = list(parameters)
    return [one for one in listed if one.dim() > 1], [one for one in listed if one.dim() <= 1]
