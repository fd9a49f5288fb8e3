"""What changes while a model trains: the student, the mean of its weights, the optimizers, and the state of the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from streamer.errors import StreamerError
from streamer.training.batches import Batch
from streamer.training.optim import cosine_with_warmup, optimizers_for
from streamer.training.predict import ClipEncoder, LoadClips
from streamer.training.recipe import Recipe
from streamer.training.student import Student, batch_losses

_WARM_UP_STEPS = 100
_LAST_RATE = 0.02  # of the peak, at the end of the cosine
_MAX_GRADIENT_NORM = 1.0


@dataclass
class TrainingState:
    """How far a run has come. The fields are keys of `state.pt`."""

    epoch: int = 0  # completed ones
    best: float = -1.0  # validation UAR of the best epoch, mean over corpora
    best_epoch: int = 0
    seconds: float = 0.0  # wall time of the completed epochs
    steps: int = 0

    def record(self, uar: float, seconds: float, patience: int) -> bool:
        """Count a completed epoch, and return whether its weights are to be kept.

        Without early stopping (`patience` 0) the validation speakers choose nothing: every epoch replaces the one
        before.
        """
        self.epoch += 1
        self.seconds += seconds
        kept = uar > self.best or patience == 0
        if kept:
            self.best, self.best_epoch = uar, self.epoch
        return kept


@dataclass
class Learner:
    """A student in training."""

    student: Student
    averaged: AveragedModel  # exponential moving average of the student's weights over steps
    optimizers: list[torch.optim.Optimizer]
    state: TrainingState
    dtype: torch.dtype  # of the encoder's arithmetic
    lstm_state: torch.Tensor | None = None  # [L, 2, B, C] after the last batch; not saved: an epoch begins at rest

    @classmethod
    def new(cls, student: Student, recipe: Recipe, dtype: torch.dtype) -> "Learner":
        """Start training `student`."""
        average = get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(student, multi_avg_fn=average)
        return cls(student, averaged, optimizers_for(student, recipe, dtype), TrainingState(), dtype)

    @property
    def kept(self) -> Student:
        """The student with averaged weights: it is validated and exported."""
        module = self.averaged.module
        assert isinstance(module, Student)
        return module

    def clip_encoder(self, load: LoadClips) -> ClipEncoder:
        """Encode what `load` returns with the averaged weights."""
        return ClipEncoder(self.kept.model, load, partial(self.kept.encode, dtype=self.dtype))

    def set_rates(self, progress: float) -> None:
        """Set the learning rates for the next step, `progress` of the training being done (1 at its end)."""
        scale = cosine_with_warmup(self.state.steps, _WARM_UP_STEPS, progress, _LAST_RATE)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * scale

    def step(self, batch: Batch, weights: torch.Tensor, mixup: float) -> torch.Tensor:
        """Take an optimizer step on the losses (see `batch_losses`), weighted by `weights [5]`, and return them, `[5]`.

        Raises:
            StreamerError: their sum is not finite.
        """
        start = None if self.lstm_state is None else self.lstm_state * batch.follows[:, None]
        losses, self.lstm_state = batch_losses(self.student, batch, self.dtype, mixup, start)
        loss = losses @ weights
        if not torch.isfinite(loss):
            raise StreamerError("Training diverged: the loss is not finite; train again with a lower learning rate.")
        self.student.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), _MAX_GRADIENT_NORM)
        for optimizer in self.optimizers:
            optimizer.step()
        self.averaged.update_parameters(self.student)
        self.state.steps += 1
        return losses.detach()

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to go on, as plain values and tensors."""
        return {
            "student": self.student.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "state": vars(self.state),
        }

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            RuntimeError, KeyError, TypeError, ValueError: it is of another model or version.
        """
        self.student.load_state_dict(values["student"])
        self.averaged.load_state_dict(values["averaged"])
        for optimizer, stored in zip(self.optimizers, values["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        self.state = TrainingState(**values["state"])


def training_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 on CUDA and on processors that multiply it (AVX512_BF16), float32 elsewhere."""
    if device.type == "cuda":
        return torch.bfloat16
    fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
