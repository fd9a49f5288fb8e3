"""A real-time streaming emotion monitor.

The public names are loaded on first use (PEP 562), so that `streamer --help` need not wait for torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"  # the only place; pyproject.toml reads it here

_HOME = {
    "EmotionDetectionModel": "streamer.emotion",
    "Monitor": "streamer.monitor",
    "Quantizer": "streamer.codec.quantizer",
    "StreamingEncoder": "streamer.codec",
    "StreamingQuantizer": "streamer.codec.quantizer",
    "convert_audio": "streamer.codec.waveform",
    "encoder_embeddings": "streamer.codec.embeddings",
    "global_embeddings": "streamer.analysis.aggregate",
    "multi_scale_embeddings": "streamer.analysis.aggregate",
    "quantized_codes": "streamer.codec.quantizer",
    "quantized_embeddings": "streamer.codec.quantizer",
}

__all__ = [
    "EmotionDetectionModel",
    "Monitor",
    "Quantizer",
    "StreamingEncoder",
    "StreamingQuantizer",
    "__version__",
    "convert_audio",
    "encoder_embeddings",
    "global_embeddings",
    "multi_scale_embeddings",
    "quantized_codes",
    "quantized_embeddings",
]  # loaded by __getattr__


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'streamer' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
