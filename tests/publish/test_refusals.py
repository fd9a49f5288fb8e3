"""A message that the broker refuses is set aside, and does not block the others."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from streamer.events import from_json
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.refusals import MAX_TRIES, RETRY_S, Refusals
from tests.publish.rude_broker import RudeBroker, Rule
from tests.support.event_samples import INFO, number_of, state, transition, window
from tests.support.real_broker import eventually

QUICK = Timing(first_retry_s=0.02, last_retry_s=0.05, answer_s=0.5, resubscribe_s=0.05)


@contextlib.contextmanager
def publishing(broker: RudeBroker, timing: Timing = QUICK) -> Iterator[tuple[RudeBroker, MqttPublisher]]:
    out = MqttPublisher(MqttSettings(url=broker.url, node="n", state_every_s=0.01), timing)
    with contextlib.closing(broker), contextlib.closing(out):
        out.start()
        out.publish(INFO)
        yield broker, out


def numbers(broker: RudeBroker) -> list[int]:
    return [number_of(from_json(payload)) for payload in broker.payloads("/transition")]


def refuses_number(number: int) -> Rule:
    return lambda topic, payload, qos: topic.endswith("/transition") and number_of(from_json(payload)) == number


@pytest.mark.parametrize("mute", [False, True], ids=["it hangs up", "it does not answer"])
def test_a_refused_transition_is_counted_and_named_and_the_others_arrive(mute: bool) -> None:
    with publishing(RudeBroker(refuses_number(3), mute=mute)) as (broker, out):
        for number in range(10):
            out.publish(transition(number))
        eventually(lambda: out.stats().refused == 1 and out.stats().queued == 0, 20)
        stats = out.stats()
        assert (stats.sent, stats.shed) == (9, 0)
        assert "refuses streamer/n/desk/transition" in stats.detail
        assert ("does not acknowledge" in stats.detail) == mute
        assert list(dict.fromkeys(numbers(broker))) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("end", ["/window", "/info", "/availability"])
def test_a_refused_topic_does_not_hold_up_the_others(end: str) -> None:
    with publishing(RudeBroker(lambda topic, payload, qos: topic.endswith(end))) as (broker, out):
        stop = threading.Event()

        def windows() -> None:
            number = 0
            while not stop.wait(0.02):
                out.publish(window(number))
                number += 1

        thread = threading.Thread(target=windows)
        thread.start()
        try:
            for number in range(20):
                out.publish(transition(number))
                time.sleep(0.01)
            eventually(lambda: list(dict.fromkeys(numbers(broker))) == list(range(20)), 20)
            eventually(lambda: out.stats().online and end in out.stats().detail, 20)
            connections = broker.connections
            time.sleep(0.5)
            assert broker.connections == connections, "the connection holds now"
        finally:
            stop.set()
            thread.join()


def test_a_broker_without_qos_1_gets_the_telemetry() -> None:
    def no_qos_1(topic: str, payload: bytes, qos: int) -> bool:
        return qos > 0

    with publishing(RudeBroker(no_qos_1)) as (_, out):
        out.publish(transition(0))
        out.publish(state())
        eventually(lambda: out.stats().refused >= 1 and "refuses" in out.stats().detail, 20)


def test_a_link_that_breaks_all_the_time_makes_progress() -> None:
    # The real waits: after an outage transitions wait two seconds for other clients, which this link never lasts.
    timing = Timing(first_retry_s=0.05, last_retry_s=0.1)
    with publishing(RudeBroker(life_s=0.1), timing) as (broker, out):
        for number in range(200):
            out.publish(transition(number))
            out.publish(window(number))
        eventually(lambda: list(dict.fromkeys(numbers(broker))) == list(range(200)), 60)
        assert broker.connections > 2
        assert out.stats().refused == 0


def test_a_topic_is_tried_again_after_ten_minutes() -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    assert [refusals.failed("k", "t", "no.") for _ in range(MAX_TRIES)] == [False] * (MAX_TRIES - 1) + [True]
    assert refusals.is_refused("k")
    assert not refusals.is_refused("other")
    now[0] = RETRY_S
    assert not refusals.is_refused("k")


def test_what_passed_in_between_begins_anew() -> None:
    refusals = Refusals()
    for _ in range(MAX_TRIES * 3):
        assert not refusals.failed("k", "t", "no.")
        refusals.passed("k")
    assert refusals.detail == ""
