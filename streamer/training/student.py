"""The model in training: the monitor's model, with auxiliary linear heads that predict the teacher's targets."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamer.codec.weights import fetch_pretrained, load_encoder
from streamer.constants import EMBEDDING_DIM, POOLED_DIM
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.checkpoint import is_bare_weights
from streamer.emotion.labels import LABELS
from streamer.training.batches import Batch
from streamer.training.descriptors import DESCRIPTORS
from streamer.training.encoder_parts import (
    DEEP_LAYER,
    LSTM_LAYER,
    at_rest,
    lower_layers,
    upper_layers_from,
    upper_modules,
)
from streamer.training.losses import masked_cross_entropy, masked_mean_square
from streamer.training.tune import Tune


class Outputs(NamedTuple):
    """Outputs of a student for B windows of F frames."""

    logits: Tensor  # [B, 8]
    frames: Tensor  # [B, F, K] predicted teacher features
    descriptors: Tensor  # [B, F, 89]
    utterance: Tensor  # [B, K] predicted teacher statistics over the window
    teacher_logits: Tensor  # [B, C, 8] predicted logits of the classifiers on the teacher's features


class Student(nn.Module):
    """The model, and linear heads for the teacher's targets and the descriptors, which are discarded after training.

    The attributes' names are keys of `state.pt`.

    Args:
        model: will be exported.
        components: width of the teacher's targets.
        corpora: number of classifiers on the teachers' features.
        tune: what is trained: pooling and classifier (`head`), also LSTM and last convolution (`upper`), also the
            convolutions at 600 Hz and below (`deep`), or everything (`all`).
        dropout: rate for the pooled values in training (Srivastava et al. 2014), and between the layers of the LSTM.
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
        self.cut = DEEP_LAYER if tune == "deep" else LSTM_LAYER  # the layer that cached features enter
        if tune in ("upper", "deep"):
            for module in upper_modules(model.encoder, self.cut):
                module.requires_grad_()

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the encoder's parameters that are trained."""
        return [parameter for parameter in self.model.encoder.parameters() if parameter.requires_grad]

    def other_parameters(self) -> list[nn.Parameter]:
        """Return the parameters outside of the encoder."""
        encoder = {id(parameter) for parameter in self.model.encoder.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in encoder]

    def encode(self, inputs: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> Tensor:
        """Encode levelled audio `[B, T]`, T whole frames, or cached features `[B, F, D]` to float32 `[B, 128, F]`.

        Of each row only the first `lengths [B]` frames count, where they are given.
        """
        frames, _ = self.encode_from(at_rest(self.model.encoder, len(inputs)), inputs, dtype, lengths)
        return frames

    def encode_from(
        self, start: Tensor, inputs: Tensor, dtype: torch.dtype, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode as `encode` what follows on from other speech; see `upper_layers_from` for the LSTM's states."""
        cached = inputs.dim() == 3
        features = inputs if cached else lower_layers(self.model.encoder, inputs, dtype, self.cut)
        return upper_layers_from(self.model.encoder, features, start, dtype, self.cut, lengths)

    def outputs(self, frames: Tensor, real: Tensor) -> Outputs:
        """Run pooling and heads on frames `[B, 128, F]`, of which `real [B, F]` count."""
        pooled, _ = self.model.pooling(frames, real)
        pooled = self.dropout(pooled)  # [B, 640]
        by_frame = frames.transpose(1, 2)  # [B, F, 128]
        return Outputs(
            logits=self.model.classifier(pooled),
            frames=self.frame_answer(by_frame),
            descriptors=self.descriptor_answer(by_frame),
            utterance=self.utterance_answer(pooled),
            teacher_logits=self.opinion_answer(pooled),
        )


def initial_model(start: str | Path, labels: int) -> EmotionDetectionModel:
    """Return the model that training starts from.

    Args:
        start: `random`; `lower` for the bundled encoder below DEEP_LAYER, random above; `pretrained` for Meta's encoder
            weights, downloaded once; `bundled`; `measured`; or the path of a checkpoint, or of an encoder's weights
            alone.
        labels: number of labels.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        WeightsError: the encoder's weights cannot be read.
        DownloadError: Meta's weights cannot be downloaded.
    """
    if str(start) == "random":
        return _initialise(EmotionDetectionModel(labels))
    if str(start) == "lower":
        model = _initialise(EmotionDetectionModel(labels))
        lower = EmotionDetectionModel.from_checkpoint("bundled").encoder.model[:DEEP_LAYER]
        model.encoder.model[:DEEP_LAYER].load_state_dict(lower.state_dict())
        return model
    if str(start) == "pretrained" or is_bare_weights(Path(start)):
        model = EmotionDetectionModel(labels)
        weights = fetch_pretrained() if str(start) == "pretrained" else Path(start)
        model.encoder.load_state_dict(load_encoder(weights).state_dict())
        return model
    return EmotionDetectionModel.from_checkpoint(start)


def _initialise(model: EmotionDetectionModel) -> EmotionDetectionModel:
    """Draw weights of a scale that keeps a signal's variance through ELU (He et al. 2015); torch's default loses it."""
    for module in model.encoder.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def batch_losses(
    student: Student, batch: Batch, dtype: torch.dtype, mixup: float = 0.0, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the losses of a batch, `[5]`: frames, descriptors, utterance, soft labels, labels.

    And the state of the encoder's LSTM after each row (see `upper_layers_from`).

    Args:
        student: in training mode.
        batch: on the student's device.
        dtype: of the encoder's arithmetic.
        start: state of the LSTM before each row; None: at rest.
        mixup: parameter of the Beta distribution for mixup (Zhang et al. 2018, arXiv 1710.09412): every row is mixed
            with another, and the losses of both count by their shares. 0: rows are not mixed.
    """
    lengths = batch.real.sum(dim=1)
    if start is None:
        start = at_rest(student.model.encoder, len(batch.inputs))
    if not mixup:
        frames, end = student.encode_from(start, batch.inputs, dtype, lengths)
        return _losses(student.outputs(frames, batch.real), batch, batch.real, None), end
    size, device = len(batch.inputs), batch.inputs.device
    drawn = torch.distributions.Beta(mixup, mixup).sample((size,)).to(device)
    shares = torch.maximum(drawn, 1 - drawn)  # [B] of each row itself; the rest is the other row's
    other = batch.reordered(torch.randperm(size, device=device))
    own = shares.reshape(-1, *[1] * (batch.inputs.dim() - 1)).to(batch.inputs.dtype)
    mixed = own * batch.inputs + (1 - own) * other.inputs
    frames, end = student.encode_from(start, mixed, dtype, lengths)
    outputs, both = student.outputs(frames, batch.real), batch.real & other.real
    return _losses(outputs, batch, batch.real, shares) + _losses(outputs, other, both, 1 - shares), end


def _losses(outputs: Outputs, batch: Batch, real: Tensor, shares: Tensor | None) -> Tensor:
    """Return `[5]` losses over the frames `real [B, F]`, each row weighted by its share `[B]`."""
    known, logits = batch.has_teacher, batch.teacher_logits
    return torch.stack(
        [
            masked_mean_square(outputs.frames, batch.teacher_frames, real & known[:, None], shares),
            masked_mean_square(outputs.descriptors, batch.descriptors, real & batch.has_descriptors[:, None], shares),
            masked_mean_square(outputs.utterance, batch.teacher_utterances, known, shares),
            masked_mean_square(outputs.teacher_logits, logits, known[:, None].expand(-1, logits.shape[1]), shares),
            masked_cross_entropy(outputs.logits, batch.targets, batch.masks, shares),
        ]
    )
