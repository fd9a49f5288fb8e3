"""Input, output, size and memory of a model, for `streamer info`."""

from dataclasses import dataclass

from torch import nn

from streamer.analysis.embedding_model import EmbeddingModel
from streamer.codec.encoder import CHANNELS
from streamer.constants import EMBEDDING_DIM, FRAME_RATE, SAMPLE_RATE

BYTES = 4  # per float32
# At its peak the offline encoder holds 4.54 times the output of its first layer (32 channels per sample): in the first
# residual block, the input, the activation and two branches. Measured with torch.profiler at three sizes.
PEAK_COPIES = 4.6


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about an encoder and its quantiser."""

    title: str
    sample_rate_hz: int
    channels: int
    embedding_dim: int
    frame_rate_hz: int
    parameters: int  # of the encoder
    bandwidths_kbps: tuple[float, ...]  # of the quantiser; empty without codebooks
    device: str
    weight_bytes: int  # of the encoder, in float32
    batch_bytes: int  # additional memory to encode the batch offline


def model_facts(model: EmbeddingModel, device: str = "cpu", batch_size: int = 1, seconds: float = 3.0) -> ModelFacts:
    """Return the facts, with the memory to encode `batch_size` recordings of `seconds` in one offline call.

    Streaming takes less: it cuts audio longer than a fraction of a second (16 s on a GPU) into blocks.
    """
    parameters = _count(model.encoder)
    return ModelFacts(
        title=model.title,
        sample_rate_hz=SAMPLE_RATE,
        channels=1,
        embedding_dim=EMBEDDING_DIM,
        frame_rate_hz=FRAME_RATE,
        parameters=parameters,
        bandwidths_kbps=() if model.quantizer is None else model.quantizer.bandwidths,
        device=device,
        weight_bytes=parameters * BYTES,
        batch_bytes=round(PEAK_COPIES * batch_size * seconds * SAMPLE_RATE * CHANNELS * BYTES),
    )


def fact_rows(facts: ModelFacts, batch_size: int, seconds: float) -> list[tuple[str, str]]:
    """Return the facts as rows of name and value."""
    bandwidths = ", ".join(f"{one:g}" for one in facts.bandwidths_kbps)
    return [
        ("model", facts.title),
        ("audio", f"{facts.sample_rate_hz:,} Hz, {facts.channels} channel"),
        ("embeddings", f"{facts.embedding_dim} dimensions, {facts.frame_rate_hz} a second"),
        ("encoder", f"{facts.parameters:,} parameters, {_megabytes(facts.weight_bytes)}"),
        ("bandwidths", f"{bandwidths} kbit/s" if bandwidths else "none: it has no codebooks"),
        ("device", facts.device),
        (f"memory for {batch_size} x {seconds:g} s", f"{_megabytes(facts.weight_bytes + facts.batch_bytes)}, offline"),
    ]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
