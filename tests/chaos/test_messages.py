"""Mutated messages through a real socket to the feed of `watch`: malformed, counted, never its end; broker kills."""

import contextlib
import os
import random
import threading
import time
from pathlib import Path

import pytest

from streamer.events import to_json
from streamer.feed.watch import WatchFeed
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.subscriber import Subscriber
from tests.chaos.mutations import mutate_document
from tests.chaos.table import Row
from tests.publish.embedded import port_of, started
from tests.publish.raw_client import PINGREQ, RawClient, publish_packet
from tests.support.event_samples import INFO, health, state, transition, window
from tests.support.real_broker import Mosquitto, eventually

SEED = 27
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


def kills(folder: Path, count: int, life_s: float) -> None:
    """Kill the broker `count` times while transitions flow; each arrives, and repeats only under its own id."""
    import paho.mqtt.client as paho

    rng, row = random.Random(f"{SEED} kills"), Row("broker kills", count=count)
    broker = Mosquitto(folder).start()
    received: list[bytes] = []
    listener = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="listener")
    listener.reconnect_delay_set(1, 1)
    listener.on_connect = lambda client, *_: client.subscribe("streamer/n/desk/transition", 1)
    listener.on_message = lambda client, data, message: received.append(message.payload)
    listener.connect("127.0.0.1", broker.port)
    listener.loop_start()
    out = MqttPublisher(MqttSettings(url=broker.url, node="n"), Timing(first_retry_s=0.2, last_retry_s=0.5))
    stop, sent = threading.Event(), 0
    with contextlib.closing(out):
        out.start()

        def publish() -> None:
            nonlocal sent
            while not stop.wait(0.02):
                out.publish(transition(sent))
                sent += 1

        thread = threading.Thread(target=publish)
        time.sleep(1.0)
        thread.start()
        for _ in range(count):
            time.sleep(life_s * rng.uniform(0.8, 1.3))
            broker.kill()
            time.sleep(rng.uniform(0.0, 0.5))
            broker.start()
        time.sleep(4.0)
        stop.set()
        thread.join()
        eventually(lambda: out.stats().queued == 0, 60)
        time.sleep(1.0)
        stats = out.stats()
    listener.disconnect()
    listener.loop_stop()
    broker.stop()
    expected = [to_json(transition(number)).encode() for number in range(sent)]
    row.lost = len(set(expected) - set(received)) + stats.shed + stats.refused
    repeated = len(received) - len(set(received))
    row.doubled = max(0, repeated - count)  # one in flight at each kill may come again, under its own id
    first_seen = list(dict.fromkeys(received))
    assert first_seen == [event for event in expected if event in set(received)], "in order"
    print(f"\n{sent:,} transitions, {repeated} repeated under their own id")
    row.check()


@pytest.mark.real
@pytest.mark.slow
def test_three_broker_kills_lose_and_invent_nothing(tmp_path: Path) -> None:
    kills(tmp_path, 3, 4.0)


@pytest.mark.real
@pytest.mark.campaign
@pytest.mark.timeout(3_600)
def test_a_hundred_broker_kills_lose_and_invent_nothing(tmp_path: Path) -> None:
    kills(tmp_path, int(os.environ.get("CHAOS_COUNT", "100")), 4.5)
