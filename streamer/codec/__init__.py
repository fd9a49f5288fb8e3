"""EnCodec's encoder and quantiser, offline and streaming; see `codec/README.md`.

The names are loaded on first use (PEP 562), so that `codec.precision` can be imported without torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# A step reads 30 MB of weights. On Linux torch then asks for pages of 2 MB instead of 4 KB for tensors of that size and
# larger, which makes reading them a fifth faster; torch reads this variable once, at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# oneDNN and what torch has over it each keep what they made for a shape, 0.2 to 0.9 MB, for the newest 1,024 shapes;
# streams that come in ever other numbers and lengths have hundreds. A step has some twenty; making one anew takes 0.1
# to 0.7 ms. These are read once too.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")

from streamer.codec.encodec_import import import_encodec, prepare_encodec_import

if TYPE_CHECKING:
    from streamer.codec.encoder import Encoder, UnsupportedModelError
    from streamer.codec.streaming import StreamingEncoder

prepare_encodec_import()

_HOME = {"Encoder": "encoder", "StreamingEncoder": "streaming", "UnsupportedModelError": "encoder"}

__all__ = ["Encoder", "StreamingEncoder", "UnsupportedModelError", "import_encodec"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'streamer.codec' has no attribute {name!r}")
    return getattr(import_module(f"streamer.codec.{_HOME[name]}"), name)
