"""The model in training: the monitor's model, and beside it what answers the teacher."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamer.codec.weights import fetch_pretrained, load_encoder
from streamer.constants import EMBEDDING_DIM
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.checkpoint import is_bare_weights
from streamer.emotion.labels import LABELS
from streamer.emotion.pooling import POOLED_DIM
from streamer.training.batches import Batch
from streamer.training.descriptors import DESCRIPTORS
from streamer.training.losses import masked_cross_entropy, masked_mean_square
from streamer.training.stems import DEEP_LAYER, LSTM_LAYER, stem, upper, upper_modules
from streamer.training.tune import Tune


class Answers(NamedTuple):
    """What a student says of B windows of F frames."""

    logits: Tensor  # [B, 8]
    frames: Tensor  # [B, F, K] to the teacher
    descriptors: Tensor  # [B, F, 89]
    utterance: Tensor  # [B, K] to the teacher, over the window
    opinions: Tensor  # [B, C, 8] to the classifiers on the teacher's features


class Student(nn.Module):
    """The model, and linear answers to the teacher and of what can be measured, thrown away after training.

    Args:
        model: what will be saved.
        components: width of the teacher's targets.
        corpora: how many classifiers on the teacher's features there are.
        tune: what learns: pooling and classifier (`head`), also LSTM and last convolution (`upper`), also the convolutions
            at 600 Hz and below (`deep`), or everything.
        dropout: share of the pooled values that are left out in training (Srivastava et al. 2014), and of what goes from
            the LSTM's first layer to its second.
    """

    def __init__(
        self, model: EmotionDetectionModel, components: int, corpora: int, tune: Tune, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.model = model
        self.tune = tune
        self.dropout = nn.Dropout(dropout)
        self.frame_answer = nn.Linear(EMBEDDING_DIM, components)
        self.descriptor_answer = nn.Linear(EMBEDDING_DIM, DESCRIPTORS)
        self.utterance_answer = nn.Sequential(nn.LayerNorm(POOLED_DIM), nn.Linear(POOLED_DIM, components))
        self.opinion_answer = nn.Sequential(
            nn.LayerNorm(POOLED_DIM),
            nn.Linear(POOLED_DIM, corpora * len(LABELS)),
            nn.Unflatten(1, (corpora, len(LABELS))),
        )
        lstm = model.encoder.model[LSTM_LAYER].lstm
        assert isinstance(lstm, nn.LSTM)
        lstm.dropout = dropout
        model.encoder.requires_grad_(tune == "all")
        self.cut = DEEP_LAYER if tune == "deep" else LSTM_LAYER  # the layer that features are given to
        if tune in ("upper", "deep"):
            for module in upper_modules(model.encoder, self.cut):
                module.requires_grad_()

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Those of the encoder that learn."""
        return [parameter for parameter in self.model.encoder.parameters() if parameter.requires_grad]

    def other_parameters(self) -> list[nn.Parameter]:
        """Those outside the encoder."""
        encoder = {id(parameter) for parameter in self.model.encoder.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in encoder]

    def frames(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        """Levelled audio `[B, T]`, T whole hops, or what `stem` gives at the cut `[B, F, D]`, to `[B, 128, F]` float32."""
        features = batch if batch.dim() == 3 else stem(self.model.encoder, batch, dtype, self.cut)
        return upper(self.model.encoder, features, dtype, self.cut)

    def answers(self, frames: Tensor, real: Tensor) -> Answers:
        """What comes of frames `[B, 128, F]`, of which `real [B, F]` count."""
        pooled, _ = self.model.pooling(frames, real)
        pooled = self.dropout(pooled)
        said = frames.transpose(1, 2)  # [B, F, 128]
        return Answers(
            logits=self.model.classifier(pooled),
            frames=self.frame_answer(said),
            descriptors=self.descriptor_answer(said),
            utterance=self.utterance_answer(pooled),
            opinions=self.opinion_answer(pooled),
        )


def initial_model(start: str | Path, labels: int) -> EmotionDetectionModel:
    """A model to begin with.

    Args:
        start: `random`; `lower` for the bundled encoder below DEEP_LAYER, random above; `pretrained` for Meta's encoder
            weights, fetched once; `bundled`; `measured`; or the path of a checkpoint, or of an encoder's weights alone.
        labels: number of labels.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        WeightsError: the encoder's weights cannot be read.
        DownloadError: Meta's weights cannot be fetched.
    """
    if str(start) == "random":
        return _spread(EmotionDetectionModel(labels))
    if str(start) == "lower":
        model = _spread(EmotionDetectionModel(labels))
        lower = EmotionDetectionModel.from_checkpoint("bundled").encoder.model[:DEEP_LAYER]
        model.encoder.model[:DEEP_LAYER].load_state_dict(lower.state_dict())
        return model
    if str(start) == "pretrained" or is_bare_weights(Path(start)):
        model = EmotionDetectionModel(labels)
        weights = fetch_pretrained() if str(start) == "pretrained" else Path(start)
        model.encoder.load_state_dict(load_encoder(weights).state_dict())
        return model
    return EmotionDetectionModel.from_checkpoint(start)


def _spread(model: EmotionDetectionModel) -> EmotionDetectionModel:
    """Weights of the scale that keeps a signal's variance through ELU (He et al. 2015): the default fades it out."""
    for module in model.encoder.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


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
