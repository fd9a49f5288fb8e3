"""Optimizers and the learning-rate schedule: Muon for the encoder's matrices, AdamW for the rest."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from streamer.training.recipe import Recipe
from streamer.training.student import Student
from streamer.training.threads import map_in_threads

_A, _B, _C = 3.4445, -4.7750, 2.0315  # quintic coefficients: steepest at zero that stays bounded (Jordan et al. 2024)
_ITERATIONS = 5
_LEAST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for matrices and convolutions.

    A convolution's kernel `[O, I, K]` is treated as a matrix `[O, I x K]`, with a row for each output channel.

    The step is scaled to AdamW's, by 0.2 x the root of the longer side (Liu et al. 2025, arXiv 2502.16982), so that
    both can use one learning rate.

    Args:
        params: groups of parameters of two dimensions or more; a group's `lr` is its rate.
        lr: learning rate of groups without their own.
        weight_decay: a step multiplies the weights by 1 - learning rate x weight decay.
        momentum: share of the previous mean of gradients.
        dtype: of the orthogonalization: bfloat16 where it is fast.

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
                    raise ValueError(f"Muon updates matrices; got a parameter of shape {list(parameter.shape)}.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. `closure` is not called: the gradients exist already."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            of_cpu = sorted((one for one in moved if one.is_cpu), key=Tensor.numel, reverse=True)  # long ones first
            map_in_threads(partial(self._update, group), of_cpu)
            for parameter in moved:
                if not parameter.is_cpu:
                    self._update(group, parameter)

    @torch.no_grad()
    def _update(self, group: dict[str, Any], parameter: Tensor) -> None:
        gradient = parameter.grad
        assert gradient is not None
        state, momentum = self.state[parameter], group["momentum"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        turned = orthogonalized(gradient.lerp(mean, momentum).flatten(1).to(self._dtype)).to(parameter)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(turned.reshape(parameter.shape), alpha=-0.2 * max(turned.shape) ** 0.5 * group["lr"])


def orthogonalized(matrix: Tensor) -> Tensor:
    """Set all singular values of `[R, C]` near 1 (about 0.7 to 1.2) by a quintic Newton-Schulz iteration."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    x: Tensor = wide / wide.norm().clamp(min=_LEAST_NORM)
    for _ in range(_ITERATIONS):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide is matrix else x.t()


def optimizers_for(student: Student, recipe: Recipe, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Return AdamW (Loshchilov & Hutter 2019), and Muon for the encoder's matrices and kernels.

    Each group has its peak learning rate as `peak`. Norms and biases have no weight decay. `dtype` is that of the
    encoder's arithmetic.
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
    """Return the share of the peak learning rate: linear warm-up, then half a cosine (Loshchilov & Hutter 2017).

    Args:
        step: number of completed steps.
        warm_up_steps: length of the warm-up.
        progress: of the training, 1 at its end.
        last: share of the peak at the end.
    """
    fall = last + (1 - last) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return min(1.0, (step + 1) / warm_up_steps) * fall


def _by_shape(parameters: Iterable[nn.Parameter]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the matrices and kernels, then the vectors."""
    listed = list(parameters)
    return [item for item in listed if item.dim() > 1], [item for item in listed if item.dim() <= 1]
