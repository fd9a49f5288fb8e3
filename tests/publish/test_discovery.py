"""What Home Assistant is told of a stream: the message that a real one accepted, and the rules that it keeps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.events import STATUSES, Info
from streamer.publish.discovery import PROBLEMS, discovery_message, discovery_topic
from streamer.publish.topics import Topics

GOLDEN = Path(__file__).with_name("discovery.json")  # accepted by Home Assistant 2026.2.3, looked at by hand
LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
INFO = Info("0.2.0", "bundled-8", "ab12", LABELS, 24_000, 3.0, 0.24, ("desk",), heartbeat_s=10.0, health_s=5.0)
TOPICS = Topics("streamer", "lab")


def message(info: Info = INFO, topics: Topics = TOPICS, stream: str = "desk") -> dict[str, Any]:
    read: dict[str, Any] = json.loads(discovery_message(topics, stream, info))
    return read


def test_the_message_is_the_one_that_home_assistant_accepted() -> None:
    """Renew it by hand, after a look at a real Home Assistant."""
    assert message() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_there_are_eleven_entities_one_that_is_disabled_and_a_trigger_for_each_emotion() -> None:
    parts = message()["components"].values()
    triggers = [part for part in parts if part["platform"] == "device_automation"]
    entities = [part for part in parts if part["platform"] != "device_automation"]
    assert [part["subtype"] for part in triggers] == list(LABELS)
    assert len([part for part in entities if part.get("enabled_by_default", True)]) == 11
    assert len(entities) == 12


def test_every_status_word_is_listed_since_others_are_dropped() -> None:
    assert message()["components"]["status"]["options"] == list(STATUSES)
    assert set(PROBLEMS) < set(STATUSES)


@pytest.mark.parametrize(("every_s", "expires_s"), [(1.0, 30), (10.0, 30), (60.0, 180)])
def test_an_entity_expires_after_three_missing_messages(every_s: float, expires_s: int) -> None:
    parts = message(replace(INFO, heartbeat_s=every_s, health_s=every_s))["components"]
    assert {parts[key]["expire_after"] for key in ("emotion", "confidence", "speech", "status")} == {expires_s}


def test_names_that_are_reduced_alike_stay_apart() -> None:
    names = [("a/b", "c"), ("a", "b_c"), ("a b", "c"), ("a_b", "c"), ("ä", "c"), ("ö", "c")]
    ids = {message(topics=Topics(prefix, node))["device"]["identifiers"][0] for prefix, node in names}
    assert len(ids) == len(names)
    for prefix, node in names:
        middle = discovery_topic("homeassistant", Topics(prefix, node), "desk", INFO).split("/")[2]
        assert set(middle) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def test_every_entity_has_an_id_of_its_own() -> None:
    parts = [part for part in message()["components"].values() if "unique_id" in part]
    assert len({part["unique_id"] for part in parts}) == len({part["default_entity_id"] for part in parts}) == 12
