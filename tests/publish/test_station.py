"""The monitor as others at a real broker see it: its name, its mutes, Home Assistant, what a crash left open."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.events import to_json
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from tests.support.event_samples import INFO, health, state, transition, window
from tests.support.real_broker import Listener, Mosquitto, eventually, program, retained

pytestmark = pytest.mark.real

QUICK = Timing(first_retry_s=0.05, last_retry_s=0.2, answer_s=2.0, keepalive_s=5, resubscribe_s=0.2)
DESK = "homeassistant/device/streamer_n_desk/config"


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    with contextlib.closing(Listener(broker.port, ["#"], qos=1)) as listener:
        yield listener


@pytest.fixture
def start(broker: Mosquitto) -> Iterator[Callable[..., MqttPublisher]]:
    with contextlib.ExitStack() as stack:

        def start(
            on_mute: Callable[[str, bool], None] | None = None, streams: tuple[str, ...] = ("desk",), **options: object
        ) -> MqttPublisher:
            settings = MqttSettings(**({"url": broker.url, "node": "n"} | options))  # type: ignore[arg-type]
            out = stack.enter_context(contextlib.closing(MqttPublisher(settings, QUICK, on_mute)))
            out.start()
            out.publish(replace(INFO, streams=streams))
            return out

        yield start


def say(broker: Mosquitto, topic: str, payload: str, *options: str) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-q", "1"]
    subprocess.run([program("mosquitto_pub"), *where, "-m", payload, *options], check=True)


def of(listener: Listener, topic: str) -> list[str]:
    return [payload for at, payload, _ in list(listener.messages) if at == topic]


def announced(listener: Listener, node: str = "n") -> bool:
    return "online" in of(listener, f"streamer/{node}/availability")


def test_the_later_of_two_monitors_with_one_name_takes_another_and_says_so(
    broker: Mosquitto, listener: Listener, start: Callable[..., MqttPublisher]
) -> None:
    first = start()
    eventually(lambda: announced(listener))
    began = time.monotonic()
    second = start()
    eventually(lambda: announced(listener, "n-2"))
    assert time.monotonic() - began < 12.0
    first.publish(transition(0))
    second.publish(transition(2))
    eventually(lambda: of(listener, "streamer/n-2/desk/transition") == [to_json(transition(2))])
    eventually(lambda: of(listener, "streamer/n/desk/transition") == [to_json(transition(0))])
    assert "is named n; this one is n-2 there" in second.stats().notice
    assert first.stats().notice == ""
    second.close()
    eventually(lambda: of(listener, "streamer/n-2/availability")[-1] == "offline")
    assert "offline" not in of(listener, "streamer/n/availability")
    assert retained(broker.port, "streamer/n/availability") == "online"


def test_a_monitor_that_was_heard_late_gets_its_name_back_as_it_was(
    broker: Mosquitto, listener: Listener, start: Callable[..., MqttPublisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.publish.conversation.EVERY_S", 1.0)
    first = start()
    first.publish(health())
    eventually(lambda: of(listener, "streamer/n/desk/mute") == ["OFF"])
    monkeypatch.setattr(first._conversation, "_on_greeting", lambda: None)
    monkeypatch.setattr(first._conversation._answer, "set", lambda: None)  # as if it were stopped for a moment
    second = start(discovery=True, streams=("desk", "door"))
    second.publish(replace(health("paused"), stream="door"))
    eventually(lambda: announced(listener, "n-2"))
    monkeypatch.undo()
    third = start()  # its greeting is answered, though it leaves at once
    eventually(lambda: announced(listener, "n-2") and "this one is n-3" in third.stats().notice)
    eventually(lambda: retained(broker.port, "streamer/n-2/door/mute") == "ON")
    assert retained(broker.port, "streamer/n/door/mute") is None
    assert retained(broker.port, DESK) is None
    assert retained(broker.port, "homeassistant/device/streamer_n-2_desk/config") is not None
    assert retained(broker.port, "streamer/n/info") == to_json(INFO)
    assert retained(broker.port, "streamer/n/availability") == "online"


def test_a_stale_online_hinders_nobody(broker: Mosquitto, start: Callable[..., MqttPublisher]) -> None:
    say(broker, "streamer/n/availability", "online", "-r")
    out = start()
    eventually(lambda: retained(broker.port, "streamer/n/info") is not None)
    assert (out.stats().notice, out.stats().detail) == ("", "")


def test_an_offline_that_another_left_behind_is_taken_back(
    broker: Mosquitto, start: Callable[..., MqttPublisher]
) -> None:
    start()
    eventually(lambda: retained(broker.port, "streamer/n/availability") == "online")
    say(broker, "streamer/n/availability", "offline", "-r")  # the will of a monitor that died before it was renamed
    eventually(lambda: retained(broker.port, "streamer/n/availability") == "online")


def test_a_mute_is_asked_for_shown_and_shown_again_where_it_is_not_lifted(
    broker: Mosquitto, listener: Listener, start: Callable[..., MqttPublisher]
) -> None:
    asked: list[tuple[str, bool]] = []
    out = start(lambda stream, muted: asked.append((stream, muted)))
    out.publish(health())
    eventually(lambda: of(listener, "streamer/n/desk/mute") == ["OFF"])
    say(broker, "streamer/n/desk/mute/set", "ON")
    eventually(lambda: asked == [("desk", True)])
    out.publish(health("paused", at_s=1.0))
    eventually(lambda: of(listener, "streamer/n/desk/mute")[-1] == "ON")
    before = len(of(listener, "streamer/n/desk/mute"))
    for payload, options in (("perhaps", ()), ("ON" * 100, ()), ("OFF", ("-r",))):
        say(broker, "streamer/n/desk/mute/set", payload, *options)
    say(broker, "streamer/n/desk/mute/set", "off")
    eventually(lambda: len(of(listener, "streamer/n/desk/mute")) > before)  # so that a switch shows what is
    assert of(listener, "streamer/n/desk/mute")[-1] == "ON"
    assert asked[-1] == ("desk", False)
    assert retained(broker.port, "streamer/n/desk/mute") == "ON"


def test_a_command_that_is_retained_is_not_obeyed_by_the_next_monitor(
    broker: Mosquitto, start: Callable[..., MqttPublisher]
) -> None:
    say(broker, "streamer/n/desk/mute/set", "OFF", "-r")
    asked: list[tuple[str, bool]] = []
    start(lambda stream, muted: asked.append((stream, muted)))
    eventually(lambda: retained(broker.port, "streamer/n/info") is not None)
    assert asked == []


def test_home_assistant_is_told_of_each_stream_and_again_when_it_starts(
    broker: Mosquitto, listener: Listener, start: Callable[..., MqttPublisher]
) -> None:
    out = start(discovery=True)
    eventually(lambda: len(of(listener, DESK)) == 1)
    assert json.loads(of(listener, DESK)[0])["availability"] == [{"topic": "streamer/n/availability"}]
    say(broker, "homeassistant/status", "online")
    eventually(lambda: len(of(listener, DESK)) == 2)
    assert retained(broker.port, DESK) == of(listener, DESK)[0]
    out.publish(health())
    eventually(lambda: of(listener, "streamer/n/desk/mute") == ["OFF"])
    out.publish(replace(INFO, streams=("door",)))
    eventually(lambda: retained(broker.port, DESK) is None)
    eventually(lambda: retained(broker.port, "streamer/n/desk/mute") is None)
    out.close()
    start()  # discovery was turned off meanwhile
    eventually(lambda: retained(broker.port, "homeassistant/device/streamer_n_door/config") is None)


def test_an_emotion_left_open_by_a_crash_is_ended_before_anything_else(
    listener: Listener, start: Callable[..., MqttPublisher]
) -> None:
    crashed = start()
    crashed.publish(transition(0))
    crashed.publish(state("angry", at_s=4.0))
    eventually(lambda: crashed.stats().sent == 2)
    crashed.close()  # nothing says that the emotion is over
    again = start()
    again.publish(transition(2))
    eventually(lambda: len(of(listener, "streamer/n/desk/transition")) == 3)
    _, ended, started = map(json.loads, of(listener, "streamer/n/desk/transition"))
    assert (ended["event_type"], ended["id"], ended["reason"]) == ("emotion_ended", "k3f9-000000", "restart")
    assert ended["duration_s"] == 4.0
    assert started["id"] == "k3f9-000001"
    again.publish(transition(3))
    eventually(lambda: again.stats().sent == 3)
    again.close()
    last = start()
    last.publish(window())
    eventually(lambda: bool(of(listener, "streamer/n/desk/window")))
    assert len(of(listener, "streamer/n/desk/transition")) == 4


def test_an_acl_that_denies_is_seen_though_the_connection_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.publish.conversation.EVERY_S", 0.2)
    broker = Mosquitto(tmp_path, acl="topic readwrite elsewhere/#\n").start()
    out = MqttPublisher(MqttSettings(url=broker.url, node="n"), QUICK)
    with contextlib.closing(out):
        out.start()
        eventually(lambda: "ACL must let it write and read streamer/n/#" in out.stats().detail)
        assert out.stats().online
    broker.stop()
