"""What moves a student's weights."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from streamer.training.muon import Muon
from streamer.training.recipe import Recipe
from streamer.training.student import Student


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


def rate_scale(step: int, warm_up_steps: int, progress: float, last: float) -> float:
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
