"""What the embedded broker does with clients that keep, send or ask too much."""

import contextlib
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from streamer.publish import broker_server
from streamer.publish.bounded_broker import MAX_FILTERS, MAX_RETAINED
from streamer.publish.broker import EmbeddedBroker
from tests.publish.embedded import port_of, publish_one, started
from tests.publish.raw_client import (
    PINGREQ,
    RawClient,
    connect_packet,
    packet,
    publish_packet,
    raw_retained,
    subscribe_packet,
    text,
)
from tests.support.real_broker import eventually

MB = 1e6


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with started() as running:
        publish_one(running.url)
        yield running


@pytest.fixture
def port(broker: EmbeddedBroker) -> int:
    return port_of(broker)


def resident_mb(broker: EmbeddedBroker) -> float:
    assert broker.pid is not None
    return psutil.Process(broker.pid).memory_info().rss / MB


def test_a_client_that_does_not_ping_is_disconnected_and_its_will_is_sent(port: int) -> None:
    listener = RawClient(port)
    listener.subscribe("last/#")
    silent = RawClient(port, keepalive_s=1, will=("last/will", "gone"))
    began = time.monotonic()
    assert silent.is_closed_by_the_broker()
    assert 1.0 < time.monotonic() - began < 4
    assert listener.payloads(1) == [b"gone"]


def test_a_client_without_a_keepalive_stays(port: int) -> None:
    quiet = RawClient(port, keepalive_s=0)
    quiet.subscribe("quiet/#")
    time.sleep(1.0)
    RawClient(port).send(publish_packet("quiet/x", b"still here"))
    assert quiet.payloads(1) == [b"still here"]


def test_a_connection_without_a_connect_is_closed(port: int) -> None:
    began = time.monotonic()
    assert RawClient(port, hello=b"", timeout_s=20).is_closed_by_the_broker()
    assert time.monotonic() - began < broker_server.CONNECT_S + 2


def test_a_subscriber_that_reads_nothing_costs_little_and_only_itself(broker: EmbeddedBroker, port: int) -> None:
    before = resident_mb(broker)
    deaf = RawClient(port, keepalive_s=0)
    deaf.send(subscribe_packet("much/#"))
    reader, sender = RawClient(port, keepalive_s=0), RawClient(port, keepalive_s=0, timeout_s=30)
    reader.subscribe("much/#")
    count, payload = 200, os.urandom(200_000)  # 40 MB
    thread = threading.Thread(target=lambda: sender.send(*[publish_packet("much/x", payload)] * count))
    thread.start()
    received = reader.payloads(count // 2)
    thread.join()
    assert set(received) == {payload}
    assert resident_mb(broker) < before + 15


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscribers_that_acknowledge_nothing_hold_nobody_up(qos: int) -> None:
    with started() as broker, contextlib.ExitStack() as stack:
        for _ in range(20):
            silent = stack.enter_context(contextlib.closing(RawClient(port_of(broker), keepalive_s=0)))
            assert silent.subscribe("#", qos=qos) == [min(qos, 1)]
        reader, sender = RawClient(port_of(broker), keepalive_s=0), RawClient(port_of(broker), keepalive_s=0)
        reader.subscribe("much/#")
        for number in range(300):
            sender.send(publish_packet("much/x", b"%d" % number))
        assert reader.payloads(300) == [b"%d" % number for number in range(300)]


def test_a_subscriber_that_owes_thousands_of_acknowledgements_is_disconnected(port: int) -> None:
    silent, sender = RawClient(port, keepalive_s=0, timeout_s=30), RawClient(port, keepalive_s=0, timeout_s=30)
    silent.subscribe("owed/#", qos=1)
    sender.send(*[publish_packet("owed/x", b"x")] * 3_000)
    assert silent.is_closed_by_the_broker()


@pytest.mark.parametrize("size", [300 * 1024, 100 * 1024 * 1024])
def test_a_message_of_more_than_256_kib_ends_its_senders_connection(
    broker: EmbeddedBroker, port: int, size: int
) -> None:
    before = resident_mb(broker)
    sender = RawClient(port)
    with contextlib.suppress(ConnectionError):
        sender.send(publish_packet("large/x", bytes(size), retain=True))
    assert sender.is_closed_by_the_broker()
    assert raw_retained(port, "large/#") == {}
    assert resident_mb(broker) < before + 15


def test_a_message_of_256_kib_arrives(port: int) -> None:
    listener = RawClient(port)
    listener.subscribe("fits/#")
    payload = os.urandom(256 * 1024)
    RawClient(port).send(publish_packet("fits/x", payload))
    assert listener.payloads(1) == [payload]


def test_a_hundred_half_open_connections_do_not_keep_anybody_out(port: int, broker: EmbeddedBroker) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(broker_server.MAX_CONNECTIONS):
            stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)))
        publish_one(broker.url)


def test_the_hundred_and_first_client_waits_until_another_has_left(port: int) -> None:
    with contextlib.ExitStack() as stack:
        clients = [RawClient(port) for _ in range(broker_server.MAX_CONNECTIONS)]
        for client in clients:
            stack.callback(client.close)
        assert sum(client.connack == 0 for client in clients) >= broker_server.MAX_CONNECTIONS - 5  # other tests' too
        assert RawClient(port).connack is None
    eventually(lambda: RawClient(port).connack == 0, 5)


def test_a_second_client_with_the_same_id_ends_the_first_and_sends_its_will(port: int) -> None:
    listener = RawClient(port)
    listener.subscribe("twin/#")
    first = RawClient(port, client_id="twin", will=("twin/will", "taken over"))
    second = RawClient(port, client_id="twin")
    assert first.is_closed_by_the_broker()
    assert listener.payloads(1) == [b"taken over"]
    second.subscribe("twins/#")
    RawClient(port).send(publish_packet("twins/x", b"heard"))
    assert second.payloads(1) == [b"heard"]


def test_no_more_topics_are_retained_than_there_is_room_for() -> None:
    with started() as broker:
        sender = RawClient(port_of(broker))
        for number in range(MAX_RETAINED + 100):
            sender.send(publish_packet(f"kept/{number}", b"x", retain=True))
        sender.send(publish_packet("kept/0", b"new", retain=True), PINGREQ)
        assert sender.packet() == b"\xd0\x00"
        eventually(lambda: raw_retained(port_of(broker), "kept/0") == {"kept/0": b"new"}, 5)
        kept = raw_retained(port_of(broker), "kept/#")
        assert len(kept) == MAX_RETAINED
        assert kept["kept/0"] == b"new", "what was retained before can still be replaced"


def test_a_client_has_only_so_many_subscriptions(port: int) -> None:
    codes = RawClient(port).subscribe(*(f"many/{number}" for number in range(MAX_FILTERS + 1)))
    assert codes == [0] * MAX_FILTERS + [0x80]


def test_messages_of_qos_2_that_are_never_released_end_the_connection(port: int) -> None:
    sender = RawClient(port)
    with contextlib.suppress(ConnectionError):
        for number in range(1, 50):
            sender.send(publish_packet("two/x", b"x", qos=2, number=number))
    assert sender.is_closed_by_the_broker()


IMPOSSIBLE = {
    "a message behind a ping": packet(0xC0, publish_packet("smuggled/x", b"x")),
    "a message behind an acknowledgement": packet(0x40, b"\0\1" + publish_packet("smuggled/x", b"x")),
    "a second connect": connect_packet("again"),
    "a packet of a server": packet(0x20, b"\0\0"),
    "a wildcard in a topic": publish_packet("smuggled/#", b"x"),
    "a topic of the broker's own": publish_packet("$SYS/x", b"x"),
    "a quality of service of three": packet(0x36, text("smuggled/x") + b"\0\1x"),
    "a topic that is not UTF-8": packet(0x30, text(b"smuggled/\xff") + b"x"),
    "a topic that is longer than the packet": packet(0x30, b"\xff\xffsmuggled"),
    "a subscription to nothing": packet(0x82, b"\0\1"),
    "a length of five bytes": b"\x30\xff\xff\xff\xff\xff",
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("sent", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_packet_ends_the_connection_and_reaches_nobody(port: int, sent: bytes) -> None:
    listener = RawClient(port)
    listener.subscribe("smuggled/#")
    rude = RawClient(port)
    rude.send(sent)
    assert rude.is_closed_by_the_broker()
    RawClient(port).send(publish_packet("smuggled/y", b"honest"))
    assert listener.payloads(1) == [b"honest"]


@pytest.mark.parametrize("cut", range(1, 24, 2))
def test_a_torn_connect_is_not_answered(port: int, cut: int) -> None:
    whole = connect_packet("torn", login=("user", "password"))
    client = RawClient(port, hello=whole[:cut])
    client.socket.shutdown(socket.SHUT_WR)
    assert client.is_closed_by_the_broker()


def test_mqtt_5_is_refused_with_the_code_for_it(port: int) -> None:
    assert RawClient(port, level=5).connack == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_the_tests_may_open_enough_files() -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
