"""Events out: MQTT, JSON lines, the embedded broker."""

from streamer.publish.publisher import Publisher, PublisherStats

__all__ = ["Publisher", "PublisherStats"]
