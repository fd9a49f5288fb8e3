"""Looking: EnCodec embeddings of recordings, as arrays, as pictures, as input to other models.

The names are loaded on first use, because most of them need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.analysis.aggregate import global_embeddings, multi_scale_embeddings

_HOME = {"global_embeddings": "aggregate", "multi_scale_embeddings": "aggregate"}

__all__ = ["global_embeddings", "multi_scale_embeddings"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'streamer.analysis' has no attribute {name!r}")
    return getattr(import_module(f"streamer.analysis.{_HOME[name]}"), name)
