"""The model that recordings are embedded with: an encoder, and what comes with it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from streamer.codec import Encoder
from streamer.codec.quantizer import Quantizer
from streamer.codec.weights import fetch_pretrained, load_encoder, read_tensors
from streamer.emotion.checkpoint import BUNDLED, FORMAT
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.pooling import AttentionPooling

PRETRAINED = "pretrained"


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """An encoder with what its source has besides."""

    title: str  # for people
    sha256: str  # of the file: tells caches apart
    encoder: Encoder
    quantizer: Quantizer | None  # EnCodec's own weights have codebooks
    pooling: AttentionPooling | None  # checkpoints of this program have learned one
    levelled: bool  # whether it was trained behind the level normaliser


def load_embedding_model(source: str = BUNDLED) -> EmbeddingModel:
    """A model on the CPU.

    Args:
        source: `bundled`; a checkpoint of this program; `pretrained` for Meta's weights of EnCodec's 24 kHz model,
            fetched once; or a file of such weights, in the layout of the `encodec` package or of Hugging Face.

    Raises:
        StreamerError: it cannot be read or fetched.
    """
    if source == PRETRAINED:
        return _encodec_model(fetch_pretrained(), "EnCodec 24 kHz")
    path = Path(source)
    if source != BUNDLED and path.is_file() and not _is_checkpoint(path):
        return _encodec_model(path, f"EnCodec weights {path.name}")
    model = EmotionDetectionModel.from_checkpoint(source)
    title = model.card.name if model.card is not None else source
    return EmbeddingModel(title, model.sha256 or "", model.encoder.eval(), None, model.pooling, levelled=True)


def _is_checkpoint(path: Path) -> bool:
    """Whether `path` is a checkpoint of this program, with a card, rather than bare weights."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except SafetensorError:
        return False


def _encodec_model(path: Path, title: str) -> EmbeddingModel:
    """Encoder and, if they are there, codebooks of the weights in `path`."""
    encoder = load_encoder(path).requires_grad_(False)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EmbeddingModel(title, digest, encoder, Quantizer.from_weights(read_tensors(path)), None, levelled=False)
