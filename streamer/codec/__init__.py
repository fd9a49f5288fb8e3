"""EnCodec in streaming mode."""

from streamer.codec.encodec_import import import_encodec, prepare_encodec_import
from streamer.codec.encoder import Encoder, UnsupportedModelError
from streamer.codec.streaming import StreamingEncoder

prepare_encodec_import()

__all__ = ["Encoder", "StreamingEncoder", "UnsupportedModelError", "import_encodec"]
