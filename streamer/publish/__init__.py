"""Events out: MQTT, JSON lines, the embedded broker. See README.md in this folder."""

from streamer.publish.publisher import Publisher, PublisherStats

__all__ = ["Publisher", "PublisherStats"]
