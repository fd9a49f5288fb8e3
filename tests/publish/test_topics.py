"""The names of the MQTT topics."""

import pytest

from streamer.errors import UsageError
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.topics import Topics, check_node, default_node
from tests.support.event_samples import INFO, health, state, transition, window


def test_topics_are_as_documented() -> None:
    topics = Topics("home/streamer", "kitchen")
    assert topics.availability == "home/streamer/kitchen/availability"
    assert topics.of(INFO) == topics.info == "home/streamer/kitchen/info"
    ends = [topics.of(event).removeprefix("home/streamer/kitchen/") for event in
            (window(), state(), transition(0), transition(1), health())]  # fmt: skip
    assert ends == ["desk/window", "desk/state", "desk/transition", "desk/transition", "desk/health"]


@pytest.mark.parametrize(
    "prefix", ["", "/", "a//b", "/a", "a/", "a/+", "#", "a#", "$SYS", "a\x00", "a\n", "\ud800", "x" * 201]
)
def test_a_prefix_that_cannot_be_a_topic_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="MQTT prefix"):
        MqttSettings(url="mqtt://broker", prefix=prefix)


@pytest.mark.parametrize("node", ["", "a/b", "+", "#", "a+", "\x7f", "\ud800", "x" * 201])
def test_a_node_that_cannot_be_a_topic_is_refused(node: str) -> None:
    with pytest.raises(UsageError, match="MQTT node"):
        MqttSettings(url="mqtt://broker", node=node)


@pytest.mark.parametrize(
    ("host", "node"),
    [("Anna's MacBook.local", "anna-s-macbook-local"), ("kitchen_2", "kitchen_2"), ("厨房", "node"), ("", "node")],
)
def test_the_node_is_the_hosts_name_reduced(monkeypatch: pytest.MonkeyPatch, host: str, node: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert default_node() == node
    check_node(default_node())
