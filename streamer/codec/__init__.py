"""EnCodec in streaming mode."""

import os

# A step reads 30 MB of weights. On Linux torch then asks for pages of 2 MB instead of 4 KB for tensors of that size and
# more, which makes that a fifth faster; it looks once, when it first allocates anything.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from streamer.codec.encodec_import import import_encodec, prepare_encodec_import
from streamer.codec.encoder import Encoder, UnsupportedModelError
from streamer.codec.streaming import StreamingEncoder

prepare_encodec_import()

__all__ = ["Encoder", "StreamingEncoder", "UnsupportedModelError", "import_encodec"]
