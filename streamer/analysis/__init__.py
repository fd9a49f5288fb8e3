"""Embeddings of recordings for researchers: compute them, cache them, write them as arrays, analyse and plot them.

It may import `corpora`, `emotion`, `codec` and `audio`, but neither training nor the live pipeline. Invariants: a run
can be interrupted at any moment and resumed with the same result, memory does not grow with the length of a recording,
and analyses are seeded. `analysis/README.md` is a tutorial.

The names are loaded on first use (PEP 562), because most of them need torch.
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
