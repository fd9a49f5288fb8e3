"""The monitor as others at the broker see it, besides its events: its name, its mutes, what Home Assistant is told.

Everything here is what should be; `mqtt.py` sends it. `note` is called by the thread that publishes, all else by the
connection's.
"""

import logging
import time
from collections.abc import Callable

from streamer.events import EmotionEnded, Event, Health, Info
from streamer.plain_text import printable
from streamer.publish.home_assistant import HomeAssistant, announced_file
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.open_emotions import OpenEmotions, open_emotions_file
from streamer.publish.presence import Presence
from streamer.publish.retained import RetainedMessages
from streamer.publish.topics import OFFLINE, ONLINE, Topics

MAX_RENAMES = 20
ON, OFF = "ON", "OFF"  # a mute

logger = logging.getLogger(__name__)


class Station:
    """The name of one monitor at its broker, and what stands under it.

    Args:
        settings: its name, until another monitor turns out to have it.
        on_mute: is asked to mute a stream or to lift that, by whoever publishes on its `mute/set`; None: nobody may.
    """

    def __init__(self, settings: MqttSettings, on_mute: Callable[[str, bool], None] | None) -> None:
        self._settings = settings
        self._on_mute = on_mute
        self._muted: dict[str, bool] = {}  # by stream, as its health said last
        self._standing: set[str] = set()  # topics on which something of ours stands at the broker
        self._renames = 0
        self.presence = Presence(settings.client_id, time.time())
        self.retained = RetainedMessages()
        self.notice = ""  # what the user should know, in one sentence
        self.left_behind: tuple[str, ...] = ()  # topics of the name given up last that hold what we said there
        self._take_name(settings.node)

    def _take_name(self, node: str) -> None:
        settings, self.topics = self._settings, Topics(self._settings.prefix, node)
        self._left_open_taken = False
        self.retained.put(self.topics.availability, ONLINE.decode())
        self.open_emotions = OpenEmotions(
            None if settings.succession else open_emotions_file(settings.state_folder, settings.prefix, node)
        )
        self._home = HomeAssistant(
            settings.discovery_prefix if settings.discovery else None,
            announced_file(settings.state_folder, str(settings.broker), self.topics),
        )

    @property
    def detail(self) -> str:
        """What is wrong with the connection though it stands, in one sentence; empty when all is well."""
        if self.presence.is_delivered:
            return ""
        return (
            f"{self._settings.broker} takes the connection, but does not bring back what this monitor publishes; its "
            f"ACL must let it write and read {self.topics.prefix}/{self.topics.node}/#."
        )

    def open_message(self, stream: str) -> tuple[str, bytes] | None:
        """Return topic and payload of what is open on a stream, to be retained; None: it is kept on disk instead."""
        if not self._settings.succession:
            return None
        return self.topics.open(stream), self.open_emotions.message(stream)

    def filters(self) -> list[tuple[str, int]]:
        """Return the topic filters to subscribe to, with QoS. No message matches two of them."""
        filters = [(self.topics.presence, 1), (self.topics.availability, 1)]
        if self._on_mute is not None:
            filters.append((self.topics.mute_command("+"), 1))
        if self._settings.discovery:
            filters.append((self._home_status, 1))
        return filters

    @property
    def _home_status(self) -> str:
        return f"{self._settings.discovery_prefix}/status"

    def close(self) -> None:
        """Release what is held on disk."""
        self.open_emotions.close()

    def take_left_open(self) -> list[EmotionEnded]:
        """Return, once under each name, the ends of the emotions that an earlier run left open, the last one first."""
        if self._left_open_taken:
            return []
        self._left_open_taken = True
        return self.open_emotions.left_open(time.time())[::-1]

    def note(self, event: Event) -> bool:
        """Note what an event says of the mutes; return whether something retained is to be sent."""
        if not isinstance(event, Health) or event.status == "ended":
            return False
        muted = event.status == "paused"
        self._muted[event.stream] = muted
        return self.retained.put(self.topics.mute(event.stream), ON if muted else OFF)

    def describe(self, info: Info) -> None:
        """Set what Home Assistant is told, and clear what belongs to streams that are gone."""
        for stream in set(self._muted) - set(info.streams):  # a copy: the other thread may add one meanwhile
            self._muted.pop(stream, None)
            self.retained.put(self.topics.mute(stream), "")
        for topic, payload in self._home.messages(self.topics, info).items():
            self.retained.put(topic, payload)

    def delivered(self, topic: str, payload: str) -> None:
        """Note that the broker took a retained message."""
        if payload:
            self._standing.add(topic)
        else:
            self._standing.discard(topic)
            self.retained.cleared(topic)
            self._home.cleared(topic)

    def take_message(self, topic: str, payload: bytes, retained: bool) -> bool:
        """Act on a message that is neither presence nor our own; return whether something retained is to be sent."""
        if topic == self._home_status:
            if payload == b"online":  # it was started, and knows nothing of us
                self.retained.repeat(f"{self._settings.discovery_prefix}/device/")
                return True
            return False
        if topic == self.topics.availability:
            if retained or payload != OFFLINE:
                return False
            self.retained.repeat(topic)  # a monitor that had our name for a moment died
            return True
        stream = topic.removeprefix(f"{self.topics.prefix}/{self.topics.node}/").removesuffix("/mute/set")
        command = payload[:8].decode(errors="replace").strip().upper()
        if retained or command not in (ON, OFF):  # what is retained was meant for a moment that is over
            logger.info("A message on %s is no command: ON or OFF, not retained.", printable(topic))
            return False
        if self._on_mute is not None:
            self._on_mute(stream, command == ON)
        self.retained.repeat(self.topics.mute(stream))  # a switch that was refused shows again what is
        return True

    def rename(self) -> bool:
        """Take another name, since an earlier monitor has this one; return whether there is one."""
        if self._renames >= MAX_RENAMES:
            return False
        self._renames += 1
        old = self.topics.node
        node = f"{self._settings.node}-{self._renames + 1}"
        self.notice = (
            f"Another monitor at {self._settings.broker} is named {old}; this one is {node} there. Set mqtt.node to "
            "give it a name of its own."
        )
        logger.info("%s", self.notice)
        self.left_behind = tuple(self._standing - {self.topics.availability})
        self._standing.clear()
        self.retained.clear()
        self.open_emotions.close()
        self._take_name(node)
        for stream, muted in list(self._muted.items()):
            self.retained.put(self.topics.mute(stream), ON if muted else OFF)
        return True
