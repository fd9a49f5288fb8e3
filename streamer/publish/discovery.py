"""Describe a stream to Home Assistant, in the form of its MQTT device discovery (Home Assistant 2024.11 or newer).

One retained message a stream holds its entities and one device trigger for each emotion. It is built from what `info`
says, so that a change of the model or of the intervals is announced, too.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamer.events import STATUSES, Info, Status
from streamer.names import slugify
from streamer.publish.topics import Topics

PROBLEMS: tuple[Status, ...] = ("no signal", "no device", "mic lost", "source lost", "behind")
NO_EMOTION = "none"  # the option of the emotion entity while none is held
PROJECT_URL = "https://pypi.org/project/streamer-emotion/"
_PATIENCE = 3  # intervals without a message after which an entity becomes unavailable
_LEAST_PATIENCE_S = 30

Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Stream:
    """What the parts of one stream's message share."""

    topics: Topics
    name: str
    info: Info

    @property
    def id(self) -> str:
        """A name for the device in topics and identifiers, where only [a-zA-Z0-9_-] may stand."""
        whole = f"{self.topics.prefix}/{self.topics.node}/{self.name}"
        reduced = re.sub(r"[^a-zA-Z0-9_-]", "_", whole)
        differs = re.fullmatch(r"[a-zA-Z0-9-]+(/[a-zA-Z0-9-]+)*", whole) is None  # another name may be reduced alike
        return f"{reduced}_{hashlib.sha256(whole.encode()).hexdigest()[:6]}" if differs else reduced

    def topic(self, kind: str) -> str:
        return f"{self.topics.prefix}/{self.topics.node}/{self.name}/{kind}"

    def expires_s(self, every_s: float) -> int:
        return max(_LEAST_PATIENCE_S, round(_PATIENCE * every_s))

    @property
    def of_state(self) -> Component:
        return {"state_topic": self.topic("state"), "expire_after": self.expires_s(self.info.heartbeat_s)}

    @property
    def of_health(self) -> Component:
        return {"state_topic": self.topic("health"), "expire_after": self.expires_s(self.info.health_s)}


def discovery_topic(discovery_prefix: str, topics: Topics, stream: str, info: Info) -> str:
    """Return the topic of a stream's discovery message."""
    return f"{discovery_prefix}/device/{_Stream(topics, stream, info).id}/config"


def discovery_message(topics: Topics, stream: str, info: Info) -> str:
    """Return a stream's discovery message, one line of JSON."""
    one = _Stream(topics, stream, info)
    origin = {"name": "streamer", "sw_version": info.version, "support_url": PROJECT_URL}
    message = {
        "device": {
            "identifiers": [one.id],
            "name": f"streamer {topics.node} {stream}",
            "manufacturer": "streamer",
            "model": "speech emotion monitor",
            "model_id": info.model,
            "sw_version": info.version,
        },
        "origin": origin,
        "availability": [{"topic": topics.availability}],
        "components": dict(_components(one)),
    }
    return json.dumps(message, separators=(",", ":"))


def _components(one: _Stream) -> Iterator[tuple[str, Component]]:
    entities = {**_emotion(one), **_condition(one), **_losses(one), "mute": _mute(one)}
    stem = slugify(f"streamer {one.topics.node} {one.name}").replace("-", "_")
    for key, entity in entities.items():
        ids = {"unique_id": f"{one.id}_{key}", "default_entity_id": f"{entity['platform']}.{stem}_{key}"}
        yield key, entity | ids
    for label in one.info.labels:
        yield f"trigger_{slugify(label)}", _trigger(one, label)


def _emotion(one: _Stream) -> dict[str, Component]:
    return {
        "emotion": {
            "platform": "sensor",
            "name": "Emotion",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": [NO_EMOTION, *one.info.labels],
            "value_template": f"{{{{ value_json.label or '{NO_EMOTION}' }}}}",
            "json_attributes_topic": one.topic("state"),
            "json_attributes_template": "{{ {'since': value_json.since} | tojson }}",
            **one.of_state,
        },
        "confidence": {
            "platform": "sensor",
            "name": "Confidence",
            "icon": "mdi:gauge",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "value_template": (
                "{{ None if value_json.confidence is none else (100 * value_json.confidence) | round(1) }}"
            ),
            **one.of_state,
        },
        # It takes the message as it is: what a template unwraps, the event platform would drop.
        "transition": {
            "platform": "event",
            "name": "Transition",
            "icon": "mdi:emoticon-happy-outline",
            "event_types": ["emotion_started", "emotion_ended"],
            "state_topic": one.topic("transition"),
            "qos": 1,
        },
    }


def _condition(one: _Stream) -> dict[str, Component]:
    return {
        "speech": {
            "platform": "binary_sensor",
            "name": "Speech",
            "icon": "mdi:account-voice",
            "value_template": "{{ 'ON' if value_json.status == 'live' else 'OFF' }}",
            **one.of_health,
        },
        "problem": {
            "platform": "binary_sensor",
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "value_template": f"{{{{ 'ON' if value_json.status in {list(PROBLEMS)} else 'OFF' }}}}",
            **one.of_health,
        },
        "status": {
            "platform": "sensor",
            "name": "Status",
            "icon": "mdi:microphone",
            "device_class": "enum",
            "options": list(STATUSES),  # a state that is not listed here would be dropped
            "entity_category": "diagnostic",
            "value_template": "{{ value_json.status }}",
            "json_attributes_topic": one.topic("health"),
            "json_attributes_template": "{{ {'device': value_json.device} | tojson }}",
            **one.of_health,
        },
        "level": {
            "platform": "sensor",
            "name": "Level",
            "icon": "mdi:waveform",
            "unit_of_measurement": "dBFS",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "enabled_by_default": False,
            "value_template": "{{ value_json.rms_dbfs }}",
            **one.of_health,
        },
        "latency": {
            "platform": "sensor",
            "name": "Latency",
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "entity_category": "diagnostic",
            "value_template": "{{ value_json.latency_p95_ms }}",
            **one.of_health,
        },
    }


def _losses(one: _Stream) -> dict[str, Component]:
    counters = {
        "dropped_samples": "Dropped samples",
        "skipped_windows": "Skipped windows",
        "overflow_events": "Device overflows",
    }
    return {
        field: {
            "platform": "sensor",
            "name": name,
            "icon": "mdi:alert-circle-outline",
            "state_class": "total_increasing",
            "entity_category": "diagnostic",
            "value_template": f"{{{{ value_json.{field} }}}}",
            **one.of_health,
        }
        for field, name in counters.items()
    }


def _mute(one: _Stream) -> Component:
    return {
        "platform": "switch",
        "name": "Mute",
        "icon": "mdi:microphone-off",
        "state_topic": one.topic("mute"),
        "command_topic": one.topic("mute/set"),
        "optimistic": False,  # it shows what is, for unmuting may be refused
        "qos": 1,
    }


def _trigger(one: _Stream, label: str) -> Component:
    return {
        "platform": "device_automation",
        "automation_type": "trigger",
        "type": "emotion_started",
        "subtype": label,
        "topic": one.topic("transition"),
        "value_template": "{{ value_json.label if value_json.event_type == 'emotion_started' else '' }}",
        "payload": label,
        "qos": 1,
    }
