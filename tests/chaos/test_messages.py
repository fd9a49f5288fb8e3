"""Mutated messages through a real socket to the feed of `watch`: malformed, counted, never its end."""

import contextlib
import os
import random
import time

import pytest

from streamer.events import to_json
from streamer.feed.watch import WatchFeed
from streamer.publish.link import Timing
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.subscriber import Subscriber
from tests.chaos.mutations import mutate_document
from tests.chaos.table import SEED, Row
from tests.publish.embedded import port_of, started
from tests.publish.raw_client import PINGREQ, RawClient, publish_packet
from tests.support.event_samples import INFO, health, state, transition, window
from tests.support.real_broker import eventually

QUICK = Timing(first_retry_s=0.05, last_retry_s=0.2, answer_s=2.0, resubscribe_s=1.5)
SAMPLES = [
    (f"streamer/n/desk/{event.type}", to_json(event).encode()) for event in (window(), state(), transition(0), health())
] + [("streamer/n/info", to_json(INFO).encode())]


def messages(count: int) -> None:
    """Send `count` mutated messages, some retained; the feed must still draw, and take an honest one at the end."""
    rng, row = random.Random(f"{SEED} messages"), Row("messages")
    with started() as broker:
        feed = WatchFeed(broker.url)
        subscriber = Subscriber(MqttSettings(url=broker.url), feed, None, QUICK)
        with contextlib.closing(subscriber), contextlib.closing(RawClient(port_of(broker), timeout_s=60)) as sender:
            subscriber.start()
            eventually(lambda: feed.snapshot().broker.status == "online", 20)
            time.sleep(0.5)
            for number in range(count):
                topic, payload = rng.choice(SAMPLES)
                mutated = mutate_document(payload, rng)
                sender.send(publish_packet(topic, mutated, retain=rng.random() < 0.01))
                if number % 200 == 199:
                    sender.send(PINGREQ)
                    assert sender.packet() == b"\xd0\x00"
                    row.attempt(feed.snapshot)
            row.count = count
            sender.send(publish_packet("streamer/honest/desk/window", to_json(window(7)).encode()))
            eventually(lambda: any("desk" in stream.name for stream in feed.snapshot().streams), 20)
            assert feed.snapshot().broker.status == "online"
            assert subscriber.malformed > count / 10
        again = WatchFeed(broker.url)  # what is retained does not blind the next one
        second = Subscriber(MqttSettings(url=broker.url), again, None, QUICK)
        with contextlib.closing(second):
            second.start()
            eventually(lambda: again.snapshot().broker.status == "online", 20)
    row.check()


@pytest.mark.slow
def test_a_thousand_mutated_messages() -> None:
    messages(1_000)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
def test_a_hundred_thousand_mutated_messages() -> None:
    messages(int(os.environ.get("CHAOS_COUNT", "100000")))
