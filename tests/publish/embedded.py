"""Start an embedded broker on a free port, and publish to it."""

import contextlib
from collections.abc import Iterator

from streamer.publish.broker import BrokerOptions, EmbeddedBroker
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import BrokerUrl, MqttSettings
from tests.support.event_samples import transition
from tests.support.real_broker import eventually, free_port

QUICK = Timing(first_retry_s=0.05, last_retry_s=0.2, answer_s=2.0, resubscribe_s=1.5)


def started(**options: object) -> contextlib.AbstractContextManager[EmbeddedBroker]:
    """Everybody may do everything there, unless the options say otherwise."""
    broker = EmbeddedBroker(BrokerOptions(**{"port": free_port(), "access": "open"} | options))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def running() -> Iterator[EmbeddedBroker]:
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()

    return running()


def port_of(broker: EmbeddedBroker) -> int:
    return BrokerUrl.parse(broker.url).port


def publish_one(url: str, login: tuple[str | None, str | None] = (None, None)) -> None:
    out = MqttPublisher(MqttSettings(url=url, node="n", username=login[0], password=login[1]), QUICK)
    with contextlib.closing(out):
        out.start()
        out.publish(transition(0))
        eventually(lambda: out.stats().sent >= 1)
