"""A mute for real: the device is closed, and stays closed over a crash, until it is lifted."""

import time

import pytest

from streamer.sources.muting import Mute, MuteStore
from tests.live.program import Streamer
from tests.support.real_audio import VirtualMicrophone

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]


def status(program: Streamer) -> str:
    return program.of("health")[-1]["status"] if program.of("health") else ""


def test_a_muted_microphone_is_closed_and_not_opened_again_after_a_crash_until_the_mute_is_lifted() -> None:
    store = MuteStore()
    with VirtualMicrophone() as microphone:
        command = ("run", "mic", "--headless", "--mqtt", "off")
        with Streamer(*command, env=microphone.env) as program:
            program.until(lambda: program.of("window"))
            assert microphone.recordings()
            store.save("mic", Mute("command", time.time()))
            program.until(lambda: status(program) == "paused")
            assert microphone.recordings() == ""
            program.process.kill()
        with Streamer(*command, env=microphone.env) as program:
            program.until(lambda: status(program) == "paused")
            time.sleep(1.0)
            assert microphone.recordings() == ""
            assert program.of("window") == []
            program.until(lambda: any("mic: Muted by `streamer mute`" in line for line in program.errors))
            store.remove("mic")
            program.until(lambda: program.of("window"))
            assert microphone.recordings()
            assert program.end() == 0
