"""Two real programs at one broker: names, a crash with an emotion open, and the next start."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live.program import LIVELY, Streamer, events, write_config
from tests.support.real_broker import Listener, Mosquitto, eventually, retained

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]


def still_open(transitions: list[dict[str, Any]]) -> set[str]:
    ended = {event["id"] for event in transitions if event["event_type"] == "emotion_ended"}
    return {event["id"] for event in transitions if event["event_type"] == "emotion_started"} - ended


def test_a_second_program_takes_another_name_and_a_crash_leaves_no_emotion_open(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    listener = Listener(broker.port, ["streamer/lab/#"], qos=1)
    held = LIVELY.replace("exit = 0.1", "exit = 0.0").replace("hang_s = 0.2", "hang_s = 60.0")  # until the next begins
    config = write_config(tmp_path, held + '[mqtt]\nnode = "lab"\n')
    command = ("run", "demo", "--headless", "--mqtt", broker.url, "--config", config)
    try:
        with Streamer(*command) as first:
            first.until(lambda: still_open(events(listener, "transition")))
            with Streamer(*command) as second:
                second.until(lambda: any("is named lab; this one is lab-2 there" in line for line in second.errors))
                assert second.end() == 0
            assert retained(broker.port, "streamer/lab-2/availability") == "offline"
            assert retained(broker.port, "streamer/lab/availability") == "online"
            first.until(lambda: still_open(events(listener, "transition")))
            first.process.kill()
            first.process.wait(10)
        eventually(lambda: listener.payloads("/availability")[-1] == "offline")
        left_open = still_open(events(listener, "transition"))
        assert left_open
        with Streamer(*command) as again:
            again.until(lambda: not still_open(events(listener, "transition")) & left_open)
            again.end()
        reasons = {e["id"]: e["reason"] for e in events(listener, "transition") if e["event_type"] == "emotion_ended"}
        assert {reasons[id_] for id_ in left_open} == {"restart"}
        eventually(lambda: not still_open(events(listener, "transition")))  # the last one may be on its way
        assert json.loads(listener.payloads("/presence")[0])["type"] == "presence"
    finally:
        listener.close()
        broker.kill()
