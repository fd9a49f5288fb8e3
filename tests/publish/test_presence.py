"""Monitors of one name: who was there first, and whether what is sent comes back."""

import json

import pytest

from streamer.publish.presence import MAX_BYTES, Presence


def greeting(run: str, since: float, hello: bool = True) -> bytes:
    return Presence(run, since).message(hello).encode()


def test_of_two_monitors_exactly_one_is_the_earlier_one() -> None:
    for first, second in (
        (("b", 1000.0), ("a", 1000.5)),
        (("a", 1000.0), ("b", 1000.0)),
        (("a", 1000.0004), ("b", 1000.0)),
    ):
        one, other = Presence(*first), Presence(*second)
        assert one.hear(greeting(*second)) == ("later", True)
        assert other.hear(greeting(*first)) == ("earlier", True)


def test_what_comes_back_is_ones_own_and_wants_no_answer() -> None:
    one = Presence("a", 1000.0)
    assert one.hear(one.message(hello=True).encode()) == ("own", False)
    assert one.hear(greeting("b", 1001.0, hello=False)) == ("later", False)


def test_messages_that_do_not_come_back_are_noticed_at_the_third() -> None:
    one = Presence("a", 1000.0)
    message = one.message(hello=True)
    one.message(hello=False)
    assert one.is_delivered
    one.message(hello=False)
    assert not one.is_delivered
    one.hear(message.encode())
    assert one.is_delivered


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"online",
        b"\xff",
        b"[]",
        b"[" * 1000,
        b" " * (MAX_BYTES + 1),
        json.dumps({"run": "b", "since": "9999-01-01T00:00:00Z", "hello": True}).encode(),
        json.dumps({"run": "b" * 100, "since": "2026-01-01T00:00:00Z", "hello": True}).encode(),
        json.dumps({"run": "b", "since": "2026-01-01T00:00:00Z", "hello": 1}).encode(),
        json.dumps({"run": "b", "since": 10**400, "hello": True}).encode(),
    ],
)
def test_what_is_no_greeting_is_ignored(payload: bytes) -> None:
    assert Presence("a", 1000.0).hear(payload) == ("malformed", False)
