"""Subscribing to monitors through a real Mosquitto, and to whatever else is published on their topics."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from streamer.errors import UsageError
from streamer.events import MAX_BYTES, Event, to_json
from streamer.publish.link import LinkStatus, Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.subscriber import Subscriber
from tests.support.event_samples import INFO, health, state, transition, window
from tests.support.real_broker import Mosquitto, eventually, program

QUICK = Timing(first_retry_s=0.05, last_retry_s=0.2, answer_s=5.0, keepalive_s=5, resubscribe_s=2.0)


class Notes:
    """A sink that records its calls."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self.availability: list[tuple[str, bool]] = []
        self.links: list[tuple[LinkStatus, str]] = []
        self.malformed: list[tuple[str, str]] = []

    def on_event(self, node: str, event: Event) -> None:
        self.events.append((node, event))

    def on_availability(self, node: str, online: bool) -> None:
        self.availability.append((node, online))

    def on_link(self, status: LinkStatus, detail: str) -> None:
        self.links.append((status, detail))

    def on_malformed(self, topic: str, reason: str) -> None:
        self.malformed.append((topic, reason))


@pytest.fixture
def watch(broker: Mosquitto) -> Iterator[Callable[..., tuple[Notes, Subscriber]]]:
    with contextlib.ExitStack() as stack:

        def watch(prefix: str = "streamer", node: str | None = None) -> tuple[Notes, Subscriber]:
            notes = Notes()
            subscriber = Subscriber(MqttSettings(url=broker.url, prefix=prefix), notes, node, QUICK)
            stack.enter_context(contextlib.closing(subscriber))
            subscriber.start()
            eventually(lambda: bool(notes.links))
            return notes, subscriber

        yield watch


@pytest.fixture
def publisher(broker: Mosquitto) -> Iterator[MqttPublisher]:
    out = MqttPublisher(MqttSettings(url=broker.url, node="n"), QUICK)
    out.start()
    yield out
    out.close()


def publish(broker: Mosquitto, topic: str, payload: str | bytes, *options: str) -> None:
    data = payload.encode() if isinstance(payload, str) else payload
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-q", "1"]
    what = ["-s"] if data else ["-n"]
    subprocess.run([program("mosquitto_pub"), *where, *what, *options], input=data, check=True)


@pytest.mark.real
def test_what_was_published_is_received(
    publisher: MqttPublisher, watch: Callable[..., tuple[Notes, Subscriber]]
) -> None:
    publisher.publish(INFO)
    eventually(lambda: publisher.stats().online)
    notes, subscriber = watch()
    eventually(lambda: ("n", INFO) in notes.events)  # though it was published before
    eventually(lambda: notes.availability == [("n", True)])  # retained too, and sent in any order
    events = [window(), state(), transition(0), transition(1), health()]
    for event in events:
        publisher.publish(event)
    eventually(lambda: len(notes.events) == 6)
    assert sorted(to_json(event) for _, event in notes.events[1:]) == sorted(to_json(event) for event in events)
    publisher.close()
    eventually(lambda: notes.availability == [("n", True), ("n", False)])
    subscriber.close()
    assert notes.links == [("online", ""), ("offline", "")]
    assert (subscriber.malformed, notes.malformed) == (0, [])


@pytest.mark.real
def test_one_node_can_be_picked(broker: Mosquitto, watch: Callable[..., tuple[Notes, Subscriber]]) -> None:
    every, _ = watch()
    one, _ = watch(node="kitchen")
    for node in ("desk", "kitchen"):
        publish(broker, f"streamer/{node}/availability", "online")
        publish(broker, f"streamer/{node}/mic/transition", to_json(transition(0, stream="mic")))
    eventually(lambda: len(every.events) == 2)
    eventually(lambda: len(one.events) == 1)
    assert [node for node, _ in every.events] == ["desk", "kitchen"]
    assert one.availability == [("kitchen", True)]


@pytest.mark.real
def test_a_prefix_of_several_words_is_understood(
    broker: Mosquitto, watch: Callable[..., tuple[Notes, Subscriber]]
) -> None:
    notes, _ = watch(prefix="home/ground floor/streamer")
    publish(broker, "home/ground floor/streamer/n/desk/window", to_json(window()))
    eventually(lambda: notes.events == [("n", window())])


@pytest.mark.real
def test_what_is_not_understood_is_counted_and_reported(
    broker: Mosquitto, watch: Callable[..., tuple[Notes, Subscriber]]
) -> None:
    notes, subscriber = watch()
    bad: list[tuple[str, str | bytes]] = [
        ("streamer/n/desk/window", "{}"),
        ("streamer/n/desk/window", b"\xff\xfe"),
        ("streamer/n/desk/window", "x" * (MAX_BYTES + 1)),
        ("streamer/n/desk/window", to_json(state())),
        ("streamer/n/desk/window", to_json(window(stream="door"))),
        ("streamer/n/desk/window", to_json(INFO)),
        ("streamer/n/desk/health", "[" * 50_000),
        ("streamer/n/desk/state", json.dumps({"schema": 2, "type": "state"})),
        ("streamer/n/info", to_json(window())),
        ("streamer/n/availability", "perhaps"),
    ]
    for topic, payload in bad:
        publish(broker, topic, payload)
    publish(broker, "streamer/n/desk/window", to_json(window()))
    eventually(lambda: notes.events == [("n", window())])
    eventually(lambda: subscriber.malformed == len(bad))
    assert [topic for topic, _ in notes.malformed] == [topic for topic, _ in bad]
    assert notes.availability == []


class FailsOnce(Notes):
    """A sink with a defect that one event shows."""

    def on_event(self, node: str, event: Event) -> None:
        super().on_event(node, event)
        if len(self.events) == 1:
            raise OverflowError("int too large to convert to float")


@pytest.mark.real
def test_an_event_that_cannot_be_shown_ends_no_session(broker: Mosquitto) -> None:
    notes = FailsOnce()
    subscriber = Subscriber(MqttSettings(url=broker.url), notes, None, QUICK)
    with contextlib.closing(subscriber):
        subscriber.start()
        eventually(lambda: bool(notes.links))
        for number in range(3):
            publish(broker, "streamer/n/desk/window", to_json(window(number)))
        eventually(lambda: len(notes.events) == 3)
        assert notes.malformed == [("streamer/n/desk/window", "The message cannot be shown (OverflowError).")]
        assert notes.links == [("online", "")]


@pytest.mark.real
def test_a_retained_message_out_of_bounds_does_not_blind_the_next_watcher(
    broker: Mosquitto, watch: Callable[..., tuple[Notes, Subscriber]]
) -> None:
    wire = json.loads(to_json(window()))
    for name, value in {"time": "9999-12-31T23:59:59-14:00", "dropped_samples": 10**400, "rms_dbfs": 1e308}.items():
        publish(broker, f"streamer/n/{name}/window", json.dumps(wire | {"stream": name, name: value}), "-r")
    publish(broker, "streamer/a\u202eb/info", to_json(INFO), "-r")
    publish(broker, "streamer/n/desk/window", to_json(window()), "-r")
    notes, subscriber = watch()
    eventually(lambda: ("n", window()) in notes.events)
    eventually(lambda: subscriber.malformed == 4)
    assert all(topic.isprintable() for topic, _ in notes.malformed)
    assert [status for status, _ in notes.links] == ["online"]


@pytest.mark.real
def test_a_cleared_retained_message_is_nothing_to_report(
    broker: Mosquitto, watch: Callable[..., tuple[Notes, Subscriber]]
) -> None:
    publish(broker, "streamer/n/info", to_json(INFO), "-r")
    publish(broker, "streamer/n/availability", "offline", "-r")
    notes, subscriber = watch()
    eventually(lambda: notes.events == [("n", INFO)])
    eventually(lambda: notes.availability == [("n", False)])
    publish(broker, "streamer/n/info", "", "-r")
    publish(broker, "streamer/n/availability", "", "-r")
    publish(broker, "streamer/n/desk/window", to_json(window()))
    eventually(lambda: len(notes.events) == 2)
    assert subscriber.malformed == 0


@pytest.mark.real
def test_it_comes_back_with_the_broker_and_misses_no_transition(
    broker: Mosquitto, publisher: MqttPublisher, watch: Callable[..., tuple[Notes, Subscriber]]
) -> None:
    notes, _ = watch()
    publisher.publish(transition(0))
    eventually(lambda: len(notes.events) == 1)
    broker.kill()
    eventually(lambda: notes.links[-1][0] == "offline")
    for number in range(1, 50):
        publisher.publish(transition(number))
    broker.start()
    eventually(lambda: notes.events == [("n", transition(number)) for number in range(50)])
    assert [status for status, _ in notes.links] == ["online", "offline", "online"]
    assert "127.0.0.1" in notes.links[1][1]


def test_a_node_with_a_wildcard_is_refused() -> None:
    with pytest.raises(UsageError, match="MQTT node"):
        Subscriber(MqttSettings(url="mqtt://broker"), Notes(), node="+")


def test_closing_before_the_start_is_safe() -> None:
    subscriber = Subscriber(MqttSettings(url="mqtt://u:secret@broker"), Notes())
    subscriber.close()
    subscriber.close()
    assert subscriber.url == "mqtt://broker:1883"
