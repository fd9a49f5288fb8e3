"""What a step of training makes small: how far a student's answers are from labels and teacher, over a batch."""

import torch
from torch import Tensor

from streamer.training.losses import masked_cross_entropy, masked_mean_square
from streamer.training.student import Answers, Student
from streamer.training.windows import Batch


def batch_losses(student: Student, batch: Batch, dtype: torch.dtype, mixup: float) -> Tensor:
    """`[5]`, in the order of `losses.Weights`: frames, descriptors, utterance, opinions, labels.

    Args:
        student: in training mode.
        batch: where the student is.
        dtype: of the encoder's arithmetic.
        mixup: parameter of the Beta distribution that shares are drawn from; with it every row is mixed with another, and
            each tells its share (Zhang et al. 2018, arXiv 1710.09412). 0: rows as they are.
    """
    if not mixup:
        said = student.answers(student.frames(batch.inputs, dtype), batch.real)
        return _compare(said, batch, batch.real, None)
    size, device = len(batch.inputs), batch.inputs.device
    drawn = torch.distributions.Beta(mixup, mixup).sample((size,)).to(device)
    shares = torch.maximum(drawn, 1 - drawn)  # [B] of each row itself; the rest is the other row's
    other = batch.reordered(torch.randperm(size, device=device))
    own = shares.reshape(-1, *[1] * (batch.inputs.dim() - 1)).to(batch.inputs.dtype)
    mixed = own * batch.inputs + (1 - own) * other.inputs
    said = student.answers(student.frames(mixed, dtype), batch.real)
    both = batch.real & other.real
    return _compare(said, batch, batch.real, shares) + _compare(said, other, both, 1 - shares)


def _compare(said: Answers, batch: Batch, real: Tensor, shares: Tensor | None) -> Tensor:
    """`[5]` losses of a batch of which the frames `real [B, F]` and of each row its share `[B]` count."""
    taught, opinions = batch.taught, batch.opinions
    return torch.stack(
        [
            masked_mean_square(said.frames, batch.teacher_frames, real & taught[:, None], shares),
            masked_mean_square(said.descriptors, batch.descriptors, real & batch.described[:, None], shares),
            masked_mean_square(said.utterance, batch.teacher_utterances, taught, shares),
            masked_mean_square(said.opinions, opinions, taught[:, None].expand(-1, opinions.shape[1]), shares),
            masked_cross_entropy(said.logits, batch.targets, batch.masks, shares),
        ]
    )
