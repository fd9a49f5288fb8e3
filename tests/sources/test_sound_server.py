"""News of devices from the sound server, as its own tool prints them."""

import stat
import threading
import time
from pathlib import Path

import pytest

from streamer.sources.sound_server import SoundServerEvents
from tests.support.real_broker import eventually

COMING = ["Event 'new' on source #3", "Event 'new' on card #1", "Event 'change' on server #-1"]
MOVING = ["Event 'remove' on source #3", "Event 'change' on source-output #9"]
OTHER = [
    "Event 'new' on source-output #9",
    "Event 'remove' on source-output #9",
    "Event 'change' on source #3",
    "Event 'new' on client #5",
    "\x1b[31mEvent",
]


@pytest.mark.parametrize(("lines", "news"), [(COMING, ["came"] * 3), (MOVING, ["moved"] * 2), (OTHER, []), ([], [])])
def test_only_a_device_that_comes_and_a_recording_that_may_be_moved_are_news(
    tmp_path: Path, lines: list[str], news: list[str]
) -> None:
    tool = tmp_path / "pactl"
    printed = "".join(f"printf '%s\\n' \"{line}\"\n" for line in lines)
    tool.write_text(f"#!/bin/sh\n{printed}touch {tmp_path}/done\nexec sleep 60\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    heard: list[str] = []
    events = SoundServerEvents(str(tool))
    try:
        for _ in range(3):
            events.listen(lambda: heard.append("came"), lambda: heard.append("moved"))
        eventually(lambda: (tmp_path / "done").exists(), 10)
        time.sleep(0.1)
        assert heard == news
    finally:
        events.stop()
        events.stop()
    eventually(lambda: "sound server" not in [thread.name for thread in threading.enumerate()], 5)


def test_without_the_tool_nothing_happens() -> None:
    events = SoundServerEvents("no-such-tool-as-this")
    events.listen(lambda: None, lambda: None)
    events.stop()
