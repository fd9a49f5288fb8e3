"""An emotion that a lost shard left open is ended by its successor, once, where its start was."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.events import EmotionEnded, EmotionStarted, State
from streamer.publish.inheritance import Inheritance
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from tests.support.event_samples import INFO
from tests.support.real_broker import Listener, Mosquitto, eventually, program, retained

pytestmark = pytest.mark.real

QUICK = Timing(first_retry_s=0.05, last_retry_s=0.2, answer_s=2.0, keepalive_s=5, resubscribe_s=0.2)
STARTED = EmotionStarted("desk", "ab-000001", 1000.0, "angry", None, 0.8, 5.0)
ENDED = EmotionEnded("desk", "ab-000001", 1030.0, "angry", 30.0, 0.9)


@pytest.fixture
def transitions(broker: Mosquitto) -> Iterator[Callable[[], list[dict[str, object]]]]:
    with contextlib.closing(Listener(broker.port, ["streamer/+/desk/transition"], qos=1)) as listener:

        def ends() -> list[dict[str, object]]:
            found = [(topic, json.loads(payload)) for topic, payload, _ in list(listener.messages)]
            return [message | {"topic": topic} for topic, message in found if message["event_type"] == "emotion_ended"]

        yield ends


@pytest.fixture
def shard(broker: Mosquitto, tmp_path: Path) -> Iterator[Callable[[str], tuple[MqttPublisher, Inheritance]]]:
    with contextlib.ExitStack() as stack:

        def start(node: str) -> tuple[MqttPublisher, Inheritance]:
            settings = MqttSettings(url=broker.url, node=node, succession=True, state_folder=tmp_path)
            publisher = stack.enter_context(contextlib.closing(MqttPublisher(settings, QUICK)))
            heir = stack.enter_context(contextlib.closing(Inheritance(settings, publisher.open_on, QUICK)))
            publisher.start()
            heir.start()
            publisher.publish(replace(INFO, streams=("desk",)))
            return publisher, heir

        yield start


def test_the_successor_ends_it_once_on_the_topic_where_it_began(
    broker: Mosquitto,
    shard: Callable[[str], tuple[MqttPublisher, Inheritance]],
    transitions: Callable[[], list[dict[str, object]]],
) -> None:
    lost, _ = shard("a")
    lost.publish(STARTED)
    lost.publish(State("desk", 1020.0, "angry", 0.9, 1000.0))
    eventually(lambda: "1020" in (retained(broker.port, "streamer/a/desk/open") or ""))
    _, heir = shard("b")
    heir.take(["door", "desk"])
    eventually(lambda: len(transitions()) == 1)
    (end,) = transitions()
    assert (end["topic"], end["id"], end["reason"]) == ("streamer/a/desk/transition", "ab-000001", "lost")
    assert (end["duration_s"], end["peak_confidence"]) == (20.0, 0.9)
    assert retained(broker.port, "streamer/a/desk/open") is None
    heir.take(["desk"])
    _, third = shard("c")
    third.take(["desk"])
    eventually(lambda: not heir._due and not third._due)
    assert len(transitions()) == 1


def test_what_was_ended_in_order_is_not_ended_again(
    broker: Mosquitto,
    shard: Callable[[str], tuple[MqttPublisher, Inheritance]],
    transitions: Callable[[], list[dict[str, object]]],
) -> None:
    first, _ = shard("a")
    first.publish(STARTED)
    first.publish(ENDED)
    eventually(lambda: len(transitions()) == 1)
    _, heir = shard("b")
    heir.take(["desk"])
    eventually(lambda: not heir._due)
    assert [end.get("reason") for end in transitions()] == [None]


def test_a_shard_does_not_end_what_it_has_begun_itself(
    broker: Mosquitto,
    shard: Callable[[str], tuple[MqttPublisher, Inheritance]],
    transitions: Callable[[], list[dict[str, object]]],
) -> None:
    own, heir = shard("a")
    own.publish(STARTED)
    eventually(lambda: retained(broker.port, "streamer/a/desk/open") is not None)
    heir.take(["desk"])
    eventually(lambda: not heir._due)
    assert transitions() == []
    assert retained(broker.port, "streamer/a/desk/open") is not None


@pytest.mark.parametrize("payload", ["nonsense", '{"stream":"desk","open":null}', '{"stream":"door"}', "x" * 5000])
def test_what_is_no_open_emotion_is_cleared_and_ends_nothing(
    payload: str,
    broker: Mosquitto,
    shard: Callable[[str], tuple[MqttPublisher, Inheritance]],
    transitions: Callable[[], list[dict[str, object]]],
) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-t", "streamer/a/desk/open", "-r", "-q", "1"]
    subprocess.run([program("mosquitto_pub"), *where, "-m", payload], check=True)
    _, heir = shard("b")
    heir.take(["desk"])
    eventually(lambda: not heir._due)
    assert transitions() == []
    assert retained(broker.port, "streamer/a/desk/open") is None
