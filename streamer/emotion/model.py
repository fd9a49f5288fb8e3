"""The whole model: high-pass, level normaliser, encoder, attention pooling, classifier, temperature scaling."""

import os
from typing import Any, Self

import torch
from torch import Tensor, nn

from streamer.audio.front_end import normalize
from streamer.codec import Encoder
from streamer.constants import POOLED_DIM
from streamer.emotion.card import CheckpointCard, StreamHistory
from streamer.emotion.checkpoint import load_checkpoint
from streamer.emotion.labels import LABELS
from streamer.emotion.pooling import AttentionPooling


class Classifier(nn.Linear):
    """A softmax regression: pooled `[B, 640]` to uncalibrated logits `[B, num_classes]`.

    On the encoder's held-out speakers it is as accurate as a perceptron of three layers where speakers are many
    (CREMA-D), and more accurate where they are few (RAVDESS).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(POOLED_DIM, num_classes)


class EmotionDetectionModel(nn.Module):
    """24 kHz mono audio to the logits of emotions. Randomly initialised until loaded; nothing is downloaded.

    The encoder is frozen: training moves pooling and classifier only, until `unfreeze_encoder()`.

    Args:
        num_classes: number of emotions, at least 2.

    Attributes:
        encoder: `[B, 1, T]` level-normalised audio to frames `[B, 128, ceil(T / 320)]`.
        pooling: frames to `[B, 640]` and attention weights.
        classifier: `[B, 640]` to logits before calibration.
        temperature: scalar tensor that `classify` divides logits by.
        labels: names of the classes in order.
        highpass_hz: cutoff of the high-pass before the level normaliser; None: there is none.
        history: constants of the running mean of a stream's windows; None: each window is classified on its own.
        stream_classifier: of windows less the shift of their history; None: `classifier` sees those, too.
        card: the checkpoint's; None for a model that was not loaded.
        sha256: of the checkpoint's file; None likewise.

    Raises:
        ValueError: `num_classes` is below 2.
    """

    temperature: Tensor

    def __init__(self, num_classes: int = 8) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, not {num_classes}.")
        self.encoder = Encoder().requires_grad_(False)
        self.pooling = AttentionPooling()
        self.classifier = Classifier(num_classes)
        # Not a weight: it belongs to the card's calibration, so `state_dict` is without it.
        self.register_buffer("temperature", torch.ones(()), persistent=False)
        known = num_classes == len(LABELS)
        self.labels = LABELS if known else tuple(f"class_{i}" for i in range(num_classes))
        self.highpass_hz: float | None = None
        self.history: StreamHistory | None = None
        self.stream_classifier: Classifier | None = None
        self.card: CheckpointCard | None = None
        self.sha256: str | None = None

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str] = "bundled", window_s: float | None = None) -> Self:
        """Load a model from a checkpoint, in evaluation mode, on the CPU.

        Args:
            path: a file, or `bundled` or `measured` for those that come with the program.
            window_s: length of the windows to classify; selects the temperature (the card's own length, if None).

        Raises:
            CheckpointError: the checkpoint cannot be read or used.
        """
        checkpoint = load_checkpoint(path)
        card = checkpoint.card
        with torch.device("meta"):  # no memory, and no time for random weights that are overwritten
            model = cls(len(card.labels))
            if "stream_classifier.weight" in checkpoint.tensors:
                model.stream_classifier = Classifier(len(card.labels))
        checkpoint.check_against(model.state_dict())
        model.load_state_dict(dict(checkpoint.tensors), assign=True)
        model.temperature = torch.empty(()).fill_(card.calibration_for(window_s or card.window_s).temperature)
        model.labels, model.highpass_hz, model.history = card.labels, card.highpass_hz, card.history
        model.card, model.sha256 = card, checkpoint.sha256
        return model.eval()

    def unfreeze_encoder(self) -> None:
        """Let training update the encoder too."""
        self.encoder.requires_grad_(True)

    def parameter_groups(self, encoder_lr: float = 1e-5, head_lr: float = 1e-3) -> list[dict[str, Any]]:
        """Return parameter groups for an optimiser, of what is not frozen: encoder, and head (pooling and classifier).

        Returns:
            `[{"name": "encoder", "params": …, "lr": encoder_lr}, {"name": "head", …}]`, without those that are empty.
        """
        parts = (("encoder", [self.encoder], encoder_lr), ("head", [self.pooling, self.classifier], head_lr))
        groups = []
        for name, modules, rate in parts:
            moving = [p for module in modules for p in module.parameters() if p.requires_grad]
            if moving:
                groups.append({"name": name, "params": moving, "lr": rate})
        return groups

    def get_embeddings(self, audio: Tensor) -> Tensor:
        """Encode raw audio into frames, through high-pass and level normaliser, each row as a stream of its own.

        Args:
            audio: `[B, 1, T]` float, mono at 24 kHz in [-1, 1], T >= 1.

        Returns:
            `[B, 128, ceil(T / 320)]`, 75 frames a second.

        Raises:
            ValueError: `audio` is not `[B, 1, T]` of floats.
        """
        _check_audio(audio)
        raw = audio[:, 0].detach().float().cpu().numpy()
        levelled = torch.from_numpy(normalize(raw, self.highpass_hz))  # [B, T]
        parameter = next(self.encoder.parameters())
        frames: Tensor = self.encoder(levelled.to(parameter)[:, None])  # [B, 128, F]
        return frames

    def classify(self, pooled: Tensor) -> Tensor:
        """Classify pooled windows `[B, 640]` into calibrated logits `[B, num_classes]`; events carry their softmax."""
        logits: Tensor = self.classifier(pooled)
        return logits / self.temperature

    def classify_in_stream(self, pooled: Tensor, shifts: Tensor, beliefs: Tensor) -> Tensor:
        """Classify pooled windows `[B, 640]` by the histories of their streams into calibrated logits.

        Args:
            pooled: `[B, 640]`.
            shifts: `[B, 640]` of the streams' running means.
            beliefs: `[B, 1]`, how much the histories are worth: 0 classifies each window as a clip on its own, 1 by its
                stream alone.
        """
        by_stream: Tensor = (self.stream_classifier or self.classifier)(pooled - shifts)
        return torch.lerp(self.classifier(pooled), by_stream, beliefs) / self.temperature

    def forward(self, audio: Tensor) -> Tensor:
        """Classify raw audio `[B, 1, T]` into calibrated logits `[B, num_classes]`, pooled over all of its frames.

        A clip on its own is what a stream's first full window is: it has no history to be compared with. The worker
        subtracts the stream's running mean from the windows that follow (`streamer.emotion.history`).

        Raises:
            ValueError: `audio` is not `[B, 1, T]` of floats.
        """
        pooled, _ = self.pooling(self.get_embeddings(audio))
        return self.classify(pooled)


def _check_audio(audio: Tensor) -> None:
    wanted = "the audio must be [B, 1, T], mono float at 24 kHz"
    if audio.dim() != 3 or audio.shape[1] != 1 or 0 in audio.shape:
        hint = "; add dimensions with audio[None, None]" if audio.dim() == 1 else ""
        raise ValueError(f"{wanted[0].upper()}{wanted[1:]}; got {list(audio.shape)}{hint}.")
    if not audio.is_floating_point():
        raise ValueError(f"{wanted[0].upper()}{wanted[1:]} in [-1, 1]; got {audio.dtype}.")
