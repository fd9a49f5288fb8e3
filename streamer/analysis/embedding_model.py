"""Load the model that recordings are embedded with: an encoder, perhaps with codebooks or learned pooling."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from streamer.codec import Encoder
from streamer.codec.quantizer import Quantizer
from streamer.codec.weights import fetch_pretrained, load_encoder, read_tensors
from streamer.emotion.checkpoint import BUNDLED, is_bare_weights
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.pooling import AttentionPooling

PRETRAINED = "pretrained"


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """An encoder and what else its source provides."""

    title: str  # for display
    sha256: str  # of the file; part of the cache's key
    encoder: Encoder
    quantizer: Quantizer | None  # only with EnCodec's own weights
    pooling: AttentionPooling | None  # only with checkpoints of this program
    level_normalized: bool  # whether it was trained on audio from the level normaliser
    highpass_hz: float | None = None  # of the high-pass before that; None: there was none


def load_embedding_model(source: str = BUNDLED) -> EmbeddingModel:
    """Load a model on the CPU.

    Args:
        source: `bundled`; a checkpoint of this program; `pretrained` for Meta's weights of EnCodec's 24 kHz model,
            downloaded once; or a file of such weights, in the layout of the `encodec` package or of Hugging Face.

    Raises:
        StreamerError: it cannot be read or downloaded.
    """
    if source == PRETRAINED:
        return _encodec_model(fetch_pretrained(), "EnCodec 24 kHz")
    path = Path(source)
    if source != BUNDLED and is_bare_weights(path):
        return _encodec_model(path, f"EnCodec weights {path.name}")
    model = EmotionDetectionModel.from_checkpoint(source)
    title = model.card.name if model.card is not None else source
    return EmbeddingModel(
        title, model.sha256 or "", model.encoder.eval(), None, model.pooling, level_normalized=True,
        highpass_hz=model.highpass_hz,
    )  # fmt: skip


def _encodec_model(path: Path, title: str) -> EmbeddingModel:
    """Load the encoder and, if the file holds them, the codebooks from the weights in `path`."""
    encoder = load_encoder(path).requires_grad_(False)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    quantizer = Quantizer.from_weights(read_tensors(path))
    return EmbeddingModel(title, digest, encoder, quantizer, None, level_normalized=False)
