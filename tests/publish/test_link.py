"""Keeping a connection: retries, and the sentence for a broker that is not there."""

import asyncio
import contextlib
import itertools
import socket
import threading
from dataclasses import replace

import aiomqtt
import pytest

from streamer.publish.broker import BrokerOptions, EmbeddedBroker
from streamer.publish.link import MqttLink, Timing, race
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from tests.support.event_samples import INFO, health, state, transition, window
from tests.support.real_broker import eventually, free_port

QUICK = Timing(first_retry_s=0.05, last_retry_s=0.1, answer_s=0.5, keepalive_s=5, resubscribe_s=0.1)


def test_retries_begin_after_about_a_second_and_end_at_thirty_and_are_scattered() -> None:
    series = [list(itertools.islice(Timing().delays(), 12)) for _ in range(50)]
    for delays in series:
        assert 0.75 <= delays[0] <= 1.25
        assert all(0.75 * 2**n <= d <= 1.25 * 2**n for n, d in enumerate(delays[:4]))
        assert all(22 <= d <= 30 for d in delays[6:])
    assert len({delays[0] for delays in series}) > 40


def publisher(url: str, timing: Timing = QUICK) -> MqttPublisher:
    return MqttPublisher(MqttSettings(url=url, node="n"), timing)


def test_nothing_listening_is_reported_with_the_cure_and_everything_waits() -> None:
    out = publisher(f"mqtt://127.0.0.1:{free_port()}")
    out.start()
    for event in (INFO, window(0), window(1), state(), health(), transition(0), transition(1)):
        out.publish(event)
    eventually(lambda: "Nothing listens at mqtt://127.0.0.1:" in out.stats().detail)
    stats = out.stats()
    assert (stats.online, stats.sent, stats.queued, stats.shed) == (False, 0, 5, 1)
    out.close()
    stats = out.stats()
    assert (stats.online, stats.sent, stats.queued, stats.shed) == (False, 0, 0, 6)


def test_a_host_without_address_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_address(*arguments: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", no_address)
    out = publisher("mqtt://nowhere.invalid")
    out.start()
    eventually(lambda: out.stats().detail == "The host of mqtt://nowhere.invalid:1883 has no address; "
               "check its name and the network.")  # fmt: skip
    out.close()


def test_a_silent_listener_is_no_broker_and_does_not_hold_up_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        out = publisher(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        out.start()
        eventually(lambda: "does not answer" in out.stats().detail)
        out.close()
        assert "mqtt" not in [thread.name for thread in threading.enumerate()]


def test_a_broker_that_does_not_answer_in_time_is_hung_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        out = publisher(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        out.start()
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5.0)  # pinged in vain, it would be kept for 7.5 s
            while connection.recv(1_000):
                pass
        out.close()


def test_a_broker_that_freezes_is_hung_up_on_before_the_next_try() -> None:
    async def session(client: aiomqtt.Client, _: asyncio.Event) -> None:
        await client.publish("much", bytes(30_000_000), qos=1, timeout=0.5)  # more than buffers between them hold

    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = MqttSettings(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}", node="n")
        link = MqttLink(settings, session, name="mqtt", client_id="n", timing=QUICK)
        link.start()
        first, _ = server.accept()
        with first:
            first.sendall(bytes([0x20, 2, 0, 0]))  # CONNACK: accepted
            server.settimeout(10.0)
            second, _ = server.accept()
            second.close()
            first.settimeout(3.0)
            taken = 0
            with contextlib.suppress(ConnectionResetError):
                while part := first.recv(1_000_000):
                    taken += len(part)
            assert taken < 30_000_000
        link.close()


def test_closing_while_the_broker_is_waited_for_hangs_up_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        out = publisher(f"mqtt://127.0.0.1:{server.getsockname()[1]}", replace(QUICK, answer_s=10.0))
        out.start()
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5.0)
            assert connection.recv(1_000)  # CONNECT
            out.close()
            while connection.recv(1_000):
                pass
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_an_address_that_swallows_everything_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    through = threading.Event()

    def black_hole(*arguments: object, **more: object) -> None:
        through.wait(20)
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", black_hole)
    out = publisher("mqtt://192.0.2.1")
    out.start()
    eventually(lambda: "mqtt-connect" in [thread.name for thread in threading.enumerate()])
    out.close()
    assert "mqtt" not in [thread.name for thread in threading.enumerate()]
    through.set()
    eventually(lambda: "mqtt-connect" not in [thread.name for thread in threading.enumerate()])


@pytest.mark.parametrize("started", [False, True])
def test_closing_twice_and_before_the_start_is_safe(started: bool) -> None:
    out = publisher(f"mqtt://127.0.0.1:{free_port()}")
    if started:
        out.start()
    out.close()
    out.close()
    out.publish(transition(0))
    assert out.stats().shed == 1


def test_a_race_cancels_the_losers_and_raises_what_the_first_raised() -> None:
    cancelled = []

    async def loser() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fails() -> None:
        raise aiomqtt.MqttError("lost")

    with pytest.raises(aiomqtt.MqttError, match="lost"):
        asyncio.run(race(loser(), fails(), loser()))
    assert cancelled == [True, True]


def test_a_small_message_does_not_wait_for_the_acknowledgement_of_the_one_before() -> None:
    options: list[int] = []

    async def session(client: aiomqtt.Client, closing: asyncio.Event) -> None:
        options.append(client._client.socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await closing.wait()

    broker = EmbeddedBroker(BrokerOptions(port=free_port(), access="open"))
    link = MqttLink(MqttSettings(url=broker.start(), node="n"), session, name="test", client_id="test", timing=QUICK)
    try:
        link.start()
        eventually(lambda: options != [])
        assert options[0] != 0
    finally:
        link.close()
        broker.stop()
