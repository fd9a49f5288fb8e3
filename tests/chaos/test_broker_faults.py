"""A real Mosquitto that is killed, frozen, black-holed, closed to us, or gives our session to another.

Transitions flow all the while: each must arrive, in order, and repeats come only under their own id.
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from streamer.events import to_json
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from tests.chaos.proxy import Proxy
from tests.chaos.table import SEED, Row
from tests.publish.raw_client import RawClient
from tests.support.event_samples import transition
from tests.support.real_broker import Mosquitto, eventually

pytestmark = pytest.mark.real

EVERY_S = 0.02  # between two transitions
_DRAINS_S = 30.0  # for all that waited: two seconds for other clients, then some hundred transitions, one at a time
PASSWORDS = {"us": "right", "listener": "its own"}


class Flow:
    """A broker, transitions that flow to it through a proxy, and a listener, which is a client that is not ours."""

    def __init__(self, folder: Path) -> None:
        self.broker = Mosquitto(folder, passwords=PASSWORDS).start()
        self.proxy = Proxy(self.broker.port)
        self.settings = MqttSettings(
            url=f"mqtt://127.0.0.1:{self.proxy.port}", node="n", username="us", password=PASSWORDS["us"]
        )
        self._out = MqttPublisher(self.settings, Timing(first_retry_s=0.2, last_retry_s=0.5))
        self._received: list[bytes] = []
        self._listener = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="listener")
        self._listener.username_pw_set("listener", PASSWORDS["listener"])
        self._listener.reconnect_delay_set(1, 1)
        self._listener.on_connect = lambda client, *_: client.subscribe("streamer/n/desk/transition", 1)
        self._listener.on_message = lambda client, data, message: self._received.append(message.payload)
        self._stop = threading.Event()
        self._sent = 0
        self._thread = threading.Thread(target=self._publish, daemon=True)

    def start(self) -> None:
        self._listener.connect("127.0.0.1", self.broker.port)
        self._listener.loop_start()
        self._out.start()
        time.sleep(1.0)
        self._thread.start()
        self.recover()

    def _publish(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._out.publish(transition(self._sent))
            self._sent += 1

    def recover(self) -> float:
        """Wait until all that was queued has gone; return the seconds that it took."""
        began, target = time.monotonic(), self._sent
        eventually(lambda: self._out.stats().sent >= target and self._out.stats().queued < 100, 60)
        return time.monotonic() - began

    def finish(self, row: Row) -> None:
        """Let everything arrive, and count; at each fault the transition in flight may come again."""
        self._stop.set()
        self._thread.join()
        eventually(lambda: self._out.stats().queued == 0, 60)
        time.sleep(1.0)
        stats = self._out.stats()
        expected = [to_json(transition(number)).encode() for number in range(self._sent)]
        received = set(self._received)
        row.lost = len(set(expected) - received) + stats.shed + stats.refused
        row.doubled = len(received - set(expected))
        repeated = len(self._received) - len(received)
        assert list(dict.fromkeys(self._received)) == [event for event in expected if event in received], "in order"
        print(f"\n{row.what}: {self._sent:,} transitions, {repeated} of them repeated under their own id")

    def close(self) -> None:
        self._stop.set()
        self._out.close()
        self._listener.disconnect()
        self._listener.loop_stop()
        self.proxy.close()
        self.broker.stop()


def kill(flow: Flow, rng: random.Random) -> None:
    """The broker is killed, and comes back within half a second."""
    flow.broker.kill()
    time.sleep(rng.uniform(0.0, 0.5))
    flow.broker.start()


def freeze(flow: Flow, rng: random.Random) -> None:
    """It answers nothing for a while, and then everything."""
    flow.broker.freeze()
    time.sleep(rng.uniform(0.5, 12.0))
    flow.broker.thaw()


def black_hole(flow: Flow, rng: random.Random) -> None:
    """The network between us and it swallows everything."""
    flow.proxy.swallow()
    time.sleep(rng.uniform(0.5, 12.0))
    flow.proxy.pass_on()


def change_password(flow: Flow, rng: random.Random) -> None:
    """It knows another password for us, and throws us out; later ours is valid again."""
    flow.broker.set_password("us", "another")
    time.sleep(rng.uniform(0.5, 6.0))
    flow.broker.set_password("us", PASSWORDS["us"])


def take_over(flow: Flow, rng: random.Random) -> None:
    """Another client comes with our client id, some times over."""
    for _ in range(rng.randint(1, 5)):
        login = ("us", PASSWORDS["us"])
        other = RawClient(flow.broker.port, client_id=flow.settings.client_id, login=login)
        with contextlib.closing(other):
            assert other.connack == 0
            time.sleep(rng.uniform(0.0, 1.0))


FAULTS: dict[str, Callable[[Flow, random.Random], None]] = {
    "killed": kill,
    "frozen": freeze,
    "black-holed": black_hole,
    "password changed": change_password,
    "session taken over": take_over,
}


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    with contextlib.closing(Flow(tmp_path)) as flow:
        flow.start()
        yield flow


def campaign(flow: Flow, what: str, count: int) -> None:
    rng, row = random.Random(f"{SEED} {what}"), Row(f"broker {what}", count=count)
    for _ in range(count):
        time.sleep(rng.uniform(1.5, 4.0))
        FAULTS[what](flow, rng)
        took_s = flow.recover()
        row.slowest_s = max(row.slowest_s, took_s)
        row.hung += took_s > _DRAINS_S
    flow.finish(row)
    row.check()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["killed", "session taken over"])
def test_two_faults_lose_and_invent_nothing(flow: Flow, what: str) -> None:
    campaign(flow, what, 2)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("what", FAULTS)
def test_many_faults_lose_and_invent_nothing(flow: Flow, what: str) -> None:
    campaign(flow, what, int(os.environ.get("CHAOS_COUNT", "100" if what == "killed" else "13")))
