"""The publisher against a real Mosquitto: killed, frozen, restarted, encrypted, closed to unknown clients."""

import contextlib
import gc
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.events import from_json, to_json
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from tests.support.event_samples import INFO, health, number_of, state, transition, window
from tests.support.real_broker import Listener, Mosquitto, eventually, make_certificates, retained

pytestmark = pytest.mark.real

# As in a real run, with shorter waits; `resubscribe_s` is longer than the second that mosquitto_sub takes to come back.
QUICK = Timing(first_retry_s=0.05, last_retry_s=0.2, answer_s=1.0, keepalive_s=5, resubscribe_s=1.5)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def publisher(broker: Mosquitto) -> Iterator[MqttPublisher]:
    out = MqttPublisher(MqttSettings(url=broker.url, prefix="home/streamer", node="n"), QUICK)
    out.start()
    yield out
    out.close()


@pytest.fixture
def listen(broker: Mosquitto) -> Iterator[Callable[..., Listener]]:
    with contextlib.ExitStack() as stack:

        def listen(*topics: str, qos: int = 0) -> Listener:
            return stack.enter_context(contextlib.closing(Listener(broker.port, topics or ("#",), qos)))

        yield listen


def is_online(out: MqttPublisher) -> bool:
    assert out.stats().online == (out.status == "online")
    return out.stats().online


def numbers(listener: Listener) -> list[int]:
    return [number_of(from_json(payload)) for payload in listener.payloads("/transition")]


AVAILABILITY = "home/streamer/n/availability"


def test_every_event_arrives_as_it_is_on_its_own_topic(
    publisher: MqttPublisher, listen: Callable[..., Listener]
) -> None:
    listener = listen()
    events = [window(), state(), transition(0), transition(1), health(), INFO]
    for event in events:
        publisher.publish(event)
    eventually(lambda: len(listener.messages) >= 9)  # presence among them
    ends = ["desk/window", "desk/state", "desk/transition", "desk/transition", "desk/health", "info"]
    expected = [(f"home/streamer/n/{end}", to_json(event)) for end, event in zip(ends, events, strict=True)]
    received = [(topic, payload) for topic, payload, _ in listener.messages]
    around = [(AVAILABILITY, "online"), ("home/streamer/n/desk/mute", "OFF")]
    assert sorted(message for message in received if not message[0].endswith("/presence")) == sorted(expected + around)
    stats = publisher.stats()
    assert (stats.online, stats.sent, stats.queued, stats.shed, stats.detail) == (True, 5, 0, 0, "")


def test_a_late_subscriber_gets_info_and_availability(broker: Mosquitto, publisher: MqttPublisher) -> None:
    publisher.publish(INFO)
    publisher.publish(transition(0))
    eventually(lambda: publisher.stats().sent == 1)
    assert retained(broker.port, AVAILABILITY) == "online"
    assert retained(broker.port, "home/streamer/n/info") == to_json(INFO)


def test_closing_sends_what_is_left_and_leaves_offline_retained(
    broker: Mosquitto, publisher: MqttPublisher, listen: Callable[..., Listener]
) -> None:
    listener = listen("home/streamer/n/desk/transition")
    for number in range(100):
        publisher.publish(transition(number))
    publisher.close()
    assert retained(broker.port, AVAILABILITY) == "offline"
    assert publisher.stats().sent == 100
    eventually(lambda: len(listener.messages) == 100)


def test_a_short_run_loses_nothing(broker: Mosquitto, listen: Callable[..., Listener]) -> None:
    listener = listen("streamer/n/desk/transition")
    out = MqttPublisher(MqttSettings(url=broker.url, node="n"))
    out.start()
    out.publish(transition(0))
    out.close()
    eventually(lambda: numbers(listener) == [0])
    assert retained(broker.port, "streamer/n/availability") == "offline"


def test_an_exception_in_the_program_leaves_offline_retained(broker: Mosquitto, publisher: MqttPublisher) -> None:
    def crash() -> None:
        with contextlib.closing(publisher):
            eventually(lambda: is_online(publisher))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert retained(broker.port, AVAILABILITY) == "offline"


def test_a_defect_in_the_session_says_offline_and_then_reconnects(
    broker: Mosquitto,
    monkeypatch: pytest.MonkeyPatch,
    listen: Callable[..., Listener],
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = listen("streamer/n/availability")
    original, defects = MqttPublisher._send_all, [ZeroDivisionError("a defect")]

    async def failing(*arguments: Any) -> None:
        if defects:
            raise defects.pop()
        await original(*arguments)

    monkeypatch.setattr(MqttPublisher, "_send_all", failing)
    out = MqttPublisher(MqttSettings(url=broker.url, node="n"), QUICK)
    out.start()
    eventually(lambda: listener.payloads("/availability") == ["online", "offline", "online"])
    assert "defect ended the MQTT session" in caplog.text
    out.close()
    eventually(lambda: listener.payloads("/availability")[-1] == "offline")


def test_a_message_that_cannot_be_written_is_counted_and_delays_no_other(
    publisher: MqttPublisher, listen: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen("home/streamer/n/#")
    publisher.publish(transition(0, stream="desk/#"))
    publisher.publish(window(stream="+"))
    publisher.publish(transition(1))
    eventually(lambda: numbers(listener) == [1])
    eventually(lambda: publisher.stats().shed == 2)
    assert caplog.text.count("cannot be written") == 2


PROGRAM = """
import sys, time
sys.path[:0] = {paths}
from tests.support.event_samples import transition
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
out = MqttPublisher(MqttSettings(url={url!r}, node="n"))
out.start()
while not out.stats().sent:
    out.publish(transition(0))
    time.sleep(0.05)
print("sent", flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "how"),
    [("time.sleep(60)", signal.SIGKILL), ("raise SystemExit(3)", None)],
    ids=["kill -9", "an exit without closing"],
)
def test_a_program_that_vanishes_is_offline(
    broker: Mosquitto, listen: Callable[..., Listener], end: str, how: signal.Signals | None
) -> None:
    listener = listen("streamer/n/availability")
    paths = [str(REPOSITORY)]
    code = PROGRAM.format(paths=paths, url=broker.url, end=end)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"sent\n"
    if how is not None:
        process.send_signal(how)
    process.wait(60)
    process.stdout.close()
    eventually(lambda: listener.payloads("/availability") == ["online", "offline"])
    assert retained(broker.port, "streamer/n/availability") == "offline"


def test_a_broker_killed_in_mid_flight_and_restarted_gets_every_transition_in_order(
    broker: Mosquitto, publisher: MqttPublisher, listen: Callable[..., Listener]
) -> None:
    listener = listen("home/streamer/n/desk/transition", AVAILABILITY, "home/streamer/n/info")
    publisher.publish(INFO)
    total, paused = 3_000, threading.Event()

    def talk() -> None:
        for number in range(total):
            publisher.publish(transition(number))
            publisher.publish(window(number))
            if number % 10 == 0:
                paused.wait(0.005)

    talker = threading.Thread(target=talk)
    talker.start()
    for enough in (300, 1_000):
        eventually(lambda enough=enough: len(numbers(listener)) > enough)
        broker.kill()
        eventually(lambda: not is_online(publisher))
        broker.start()
        eventually(lambda: is_online(publisher))
    talker.join(60)
    eventually(lambda: publisher.stats().queued == 0)
    eventually(lambda: numbers(listener)[-1:] == [total - 1])
    received = numbers(listener)
    assert received == sorted(received)
    assert list(dict.fromkeys(received)) == list(range(total))
    assert len(received) <= total + 2  # the one in flight, at each kill
    # A broker that was restarted has forgotten what it retained.
    assert retained(broker.port, AVAILABILITY) == "online"
    assert retained(broker.port, "home/streamer/n/info") == to_json(INFO)


def test_while_the_broker_is_away_transitions_wait_and_telemetry_is_shed(
    broker: Mosquitto, publisher: MqttPublisher, listen: Callable[..., Listener]
) -> None:
    listener = listen("home/streamer/n/desk/+")
    publisher.publish(state("neutral"))
    eventually(lambda: publisher.stats().sent == 1)
    broker.kill()
    eventually(lambda: not is_online(publisher))
    sent_before = publisher.stats().sent
    for number in range(10_003):
        publisher.publish(transition(number))
    for seq in range(5):
        publisher.publish(window(seq))
    for at_s, label in enumerate(("happy", "sad", "angry")):
        publisher.publish(state(label, at_s=at_s))
    stats = publisher.stats()
    assert (stats.queued, stats.shed) == (10_000 + 2, 3 + 4 + 2)
    assert "Nothing listens" in stats.detail
    broker.start()
    eventually(lambda: publisher.stats().queued == 0)
    eventually(lambda: len(numbers(listener)) == 10_000)
    assert numbers(listener) == list(range(3, 10_003))
    assert publisher.stats().sent == sent_before + 10_002


def test_the_newest_state_is_sent_again_after_an_outage(
    broker: Mosquitto, publisher: MqttPublisher, tmp_path: Path
) -> None:
    publisher.publish(state("happy"))
    eventually(lambda: publisher.stats().sent == 1)
    broker.kill()
    eventually(lambda: not is_online(publisher))
    broker.start()
    eventually(lambda: publisher.stats().sent == 2)


def test_a_frozen_broker_neither_blocks_the_caller_nor_loses_a_transition(
    broker: Mosquitto, publisher: MqttPublisher, listen: Callable[..., Listener]
) -> None:
    listener = listen("home/streamer/n/desk/transition")
    eventually(lambda: is_online(publisher))
    broker.freeze()
    big = replace(window(0), probs={f"label-{n}": 0.001 for n in range(100)})

    def talk() -> None:
        for number in range(1_000):  # of windows more than the kernel takes for a broker that does not read
            publisher.publish(transition(number))
            publisher.publish(big)

    talker = threading.Thread(target=talk)
    talker.start()
    talker.join(60)
    assert not talker.is_alive()
    eventually(lambda: "does not answer" in publisher.stats().detail)
    assert publisher.stats().queued >= 1_000
    broker.thaw()
    eventually(lambda: publisher.stats().queued == 0)
    eventually(lambda: numbers(listener)[-1:] == [999])
    assert list(dict.fromkeys(numbers(listener))) == list(range(1_000))
    eventually(lambda: retained(broker.port, AVAILABILITY) == "online")


def test_closing_does_not_wait_for_a_frozen_broker(broker: Mosquitto, publisher: MqttPublisher) -> None:
    publisher.publish(transition(0))
    eventually(lambda: publisher.stats().sent == 1)
    broker.freeze()
    publisher.publish(transition(1))
    publisher.close()
    assert "mqtt" not in [thread.name for thread in threading.enumerate()]
    assert publisher.stats().sent + publisher.stats().shed == 2
    broker.thaw()
    eventually(lambda: retained(broker.port, AVAILABILITY) == "offline")


def test_sixty_four_streams_keep_up(publisher: MqttPublisher, listen: Callable[..., Listener]) -> None:
    listener = listen("home/streamer/n/+/window", AVAILABILITY)
    eventually(lambda: listener.payloads("/availability") == ["online"])
    for seq in range(4):
        for stream in range(64):
            publisher.publish(window(seq, stream=f"s{stream}"))
        threading.Event().wait(0.25)
    eventually(lambda: publisher.stats().sent == 4 * 64)
    assert publisher.stats().shed == 0
    eventually(lambda: len(listener.payloads("/window")) == 4 * 64)


def test_every_nth_window_can_be_enough(broker: Mosquitto, listen: Callable[..., Listener]) -> None:
    listener = listen("streamer/n/desk/window")
    out = MqttPublisher(MqttSettings(url=broker.url, node="n", window_every=4), QUICK)
    out.start()
    eventually(lambda: is_online(out))
    for seq in range(12):
        out.publish(window(seq))
        eventually(lambda seq=seq: out.stats().sent == seq // 4 + 1)
    out.close()
    eventually(lambda: len(listener.messages) == 3)


def connects(settings: MqttSettings) -> bool:
    out = MqttPublisher(settings, QUICK)
    with contextlib.closing(out):
        out.start()
        eventually(lambda: is_online(out))
        out.publish(transition(0))
        eventually(lambda: out.stats().sent >= 1)
    return True


def refusal(settings: MqttSettings) -> str:
    out = MqttPublisher(settings, QUICK)
    with contextlib.closing(out):
        out.start()
        eventually(lambda: bool(out.stats().detail))
        assert not is_online(out)
        return out.stats().detail


def test_a_login_is_checked_and_a_wrong_one_named_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with contextlib.closing(_Stopping(Mosquitto(tmp_path, passwords={"anna": "s:c/r@t"}))) as broker:
        host = broker.url.removeprefix("mqtt://")
        assert connects(MqttSettings(url=f"mqtt://anna:s%3Ac%2Fr%40t@{host}"))
        assert connects(MqttSettings(url=broker.url, username="anna", password="s:c/r@t"))
        for url in (broker.url, f"mqtt://anna:hunter2@{host}", f"mqtt://ben:hunter2@{host}"):
            detail = refusal(MqttSettings(url=url))
            assert detail == f"{broker.url} refuses the login (not authorized); check user name and password."
    assert "hunter2" not in caplog.text
    assert "s:c/r@t" not in caplog.text


# paho leaves the socket of a failed handshake to the garbage collector.
handshakes_may_fail = pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")


@handshakes_may_fail
def test_tls_trusts_only_the_named_authority(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    with contextlib.closing(_Stopping(Mosquitto(tmp_path, tls=made))) as broker:
        assert connects(MqttSettings(url=broker.url, ca_file=made.ca))
        assert "cannot be trusted" in refusal(MqttSettings(url=broker.url))
        wrong_name = broker.url.replace("127.0.0.1", "localhost")
        assert "cannot be trusted" in refusal(MqttSettings(url=wrong_name, ca_file=made.ca))
        assert "whether it requires mqtts://" in refusal(MqttSettings(url=broker.url.replace("mqtts", "mqtt")))
        gc.collect()


@handshakes_may_fail
def test_a_broker_can_require_a_client_certificate(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    with contextlib.closing(_Stopping(Mosquitto(tmp_path, tls=made, ask_client=True))) as broker:
        assert connects(
            MqttSettings(url=broker.url, ca_file=made.ca, client_cert=made.client_cert, client_key=made.client_key)
        )
        assert "check" in refusal(MqttSettings(url=broker.url, ca_file=made.ca))
        gc.collect()


class _Stopping:
    """A started broker that `contextlib.closing` stops."""

    def __init__(self, broker: Mosquitto) -> None:
        self.url = broker.start().url
        self.close = broker.stop
