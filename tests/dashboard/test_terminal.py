"""The real app in a pseudo-terminal: what reaches the terminal, what the log, and what is left behind."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from streamer.dashboard.terminal import native_stderr_to
from streamer.errors import StreamerError
from tests.support.terminal import Terminal

ROOT = Path(__file__).parents[2]
NOISE = "ALSA lib pcm.c:2664: Unknown PCM cards.pcm.rear"
SCREEN_ON, SCREEN_OFF = "\x1b[?1049h", "\x1b[?1049l"

PRELUDE = f"""
import os, sys, threading, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.dashboard.scripted_feed import live_feed
from streamer.dashboard import StreamerApp, native_stderr_to

class NoisyFeed:
    looks = 0
    def __init__(self, feed): self.feed = feed
    def __getattr__(self, name): return getattr(self.feed, name)
    def snapshot(self):
        NoisyFeed.looks += 1
        os.write(2, {NOISE!r}.encode() + b"\\n")
        return self.feed.snapshot()
"""
PLAY = """
feed = NoisyFeed(live_feed())
app = StreamerApp(feed, feed, refresh_hz=20)
with native_stderr_to(Path(sys.argv[1])):
    app.run()
os.write(2, b"descriptor 2 is back\\n")
print("python is back", file=sys.stderr)
sys.exit(app.return_code)
"""
CRASH = """
class Broken(StreamerApp):
    def tick(self):
        super().tick()
        if NoisyFeed.looks > 3:
            raise ZeroDivisionError("a defect of the screen")

feed = NoisyFeed(live_feed())
app = Broken(feed, feed, refresh_hz=20)
with native_stderr_to(Path(sys.argv[1])):
    app.run()
sys.exit(app.return_code)
"""


def run(code: str, log: Path, stderr: IO[bytes] | None = None) -> Terminal:
    """`code` after the prelude, in a terminal of 80x24."""
    environment = os.environ | {"TEXTUAL_ANIMATIONS": "none"}
    return Terminal(sys.executable, "-c", PRELUDE + code, str(log), env=environment, stderr=stderr)


def test_native_text_goes_to_the_log_and_the_terminal_is_left_clean(tmp_path: Path) -> None:
    log = tmp_path / "native.log"
    with run(PLAY, log) as terminal:
        terminal.shows("surprised")
        terminal.press("q")
        assert terminal.wait() == 0
        screen, _, after = terminal.text.rpartition(SCREEN_OFF)
    assert SCREEN_ON in screen
    assert "ALSA" not in terminal.text
    assert NOISE in log.read_text()
    assert "descriptor 2 is back" in after
    assert "python is back" in after


def test_a_traceback_is_printed_after_the_screen_is_restored(tmp_path: Path) -> None:
    with run(CRASH, tmp_path / "native.log") as terminal:
        assert terminal.wait() == 1
        screen, _, after = terminal.text.rpartition(SCREEN_OFF)
    assert "a defect of the screen" in after
    assert "a defect of the screen" not in screen


def test_a_termination_signal_leaves_a_clean_terminal(tmp_path: Path) -> None:
    with run(PLAY, tmp_path / "native.log") as terminal:
        terminal.shows("surprised")
        terminal.process.terminate()
        assert terminal.wait() == 0
    assert SCREEN_OFF in terminal.text


STRAY = {
    "Latin-1": b"\xe9",
    "two of them": b"\xe4\xf6",
    "a cut sequence": b"\xe2\x82",
    "an old mouse report": b"\x1b[M\x20\xf0\xc1",
    "a code point that does not exist": b"\x1b[99999999999;1u",
    "anything at all": bytes(range(128, 256)),
}


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
def test_whatever_the_terminal_sends_the_screen_goes_on_and_hears_the_next_key(tmp_path: Path, stray: bytes) -> None:
    with run(PLAY, tmp_path / "native.log") as terminal:
        terminal.shows("surprised")
        terminal.shows("VIEW FROZEN", since=terminal.press(stray + b" "))
        terminal.press(stray + b"q")
        assert terminal.wait() == 0


def test_a_redirected_stderr_keeps_the_native_text_and_the_screen_is_still_seen(tmp_path: Path) -> None:
    log, redirected = tmp_path / "native.log", tmp_path / "stderr"
    with redirected.open("wb") as stderr, run(PLAY, log, stderr) as terminal:
        terminal.shows("surprised")
        terminal.press("q")
        assert terminal.wait() == 0
    assert NOISE in redirected.read_text()
    assert SCREEN_ON not in redirected.read_text()
    assert "python is back" in redirected.read_text()


def test_without_any_terminal_nothing_is_moved(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from streamer.dashboard import native_stderr_to\n"
        "with native_stderr_to(Path(sys.argv[1])): os.write(2, b'where it always went')"
    )
    log = tmp_path / "native.log"
    ended = subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, check=True, timeout=60)
    assert ended.stderr == b"where it always went"
    assert not log.exists()


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    with pytest.raises(StreamerError, match="cannot be written"), native_stderr_to(tmp_path / "nowhere" / "native.log"):
        pytest.fail("the block must not be entered")
